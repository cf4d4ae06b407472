"""The roof: command line, embedded stack, recipes. The only package that may import all the others."""
