"""Files → Project. Docker Compose itself reads the files; this package runs its binary and types what comes out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gigogne.compose.options import LoadOptions

if TYPE_CHECKING:
    from gigogne.compose.load import load_project

__all__ = ["LoadOptions", "load_project"]


def __getattr__(name: str) -> Any:
    """The loader, once it is asked for: a DAG file whose project has not changed only needs the options."""
    if name != "load_project":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from gigogne.compose.load import load_project

    return load_project
