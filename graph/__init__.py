"""The temporal graph that grows with the stream."""
