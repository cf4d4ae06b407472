"""Graph networks on torch, by two backends. The only part of the graph that may import torch (`make torch`)."""
