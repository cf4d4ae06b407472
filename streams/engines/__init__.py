"""Engines: what runs a job."""
