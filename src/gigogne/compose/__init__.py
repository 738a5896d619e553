"""Files → Project. Docker Compose itself reads the files; this package runs its binary and types what comes out."""

from __future__ import annotations

from gigogne.compose.load import LoadOptions, load_project

__all__ = ["LoadOptions", "load_project"]
