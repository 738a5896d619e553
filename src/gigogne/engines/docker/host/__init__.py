"""The host container of `gigogne nest`: a container that can start containers, with the project in it."""
