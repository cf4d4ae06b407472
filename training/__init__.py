"""Models trained from the log."""
