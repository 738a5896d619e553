"""The process engine: a container without an image and without Docker."""
