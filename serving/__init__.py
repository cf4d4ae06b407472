"""The data plane that answers scoring requests, and its doors."""
