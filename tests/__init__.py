"""The tests: a mirror of `src/gigogne`, the reference stack, and whole runs (`scenarios`)."""
