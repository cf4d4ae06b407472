"""Real data sets as replayable streams, read from installed packages; nothing is downloaded."""
