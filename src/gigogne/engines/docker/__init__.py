"""The Docker engine: Compose starts the containers, the daemon tells of them, and nesting finds their files."""
