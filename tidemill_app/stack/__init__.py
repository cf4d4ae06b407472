"""The embedded stack: a real broker and a real cache on loopback, detached, in one folder."""
