"""The command `gigogne`, also as `python -m gigogne`."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command; Ctrl-C while it is still being loaded ends it without a word, as any other one."""
    try:
        from gigogne.cli.commands import main as command
    except KeyboardInterrupt:
        sys.exit(130)
    command()


if __name__ == "__main__":
    main()
