"""Reports from libraries that run work: one module for each, which alone imports it."""
