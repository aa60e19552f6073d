"""A component of one's own: each process of the worker answers on an HTTP port how it is."""
