"""Counts the words of ``EXAMPLE_TEXT`` and writes them to ``words.json``, the most frequent first."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path

__all__ = ["main"]


def main() -> None:
    """Write the file and say what is in it."""
    counts = Counter(os.environ.get("EXAMPLE_TEXT", "").lower().split())
    if not counts:
        sys.exit("error: EXAMPLE_TEXT has no words: set it in .env or in the shell")
    target = Path(os.environ.get("EXAMPLE_DIR", "/data/example"), "words.json")
    try:
        write_whole(target, json.dumps(dict(counts.most_common()), ensure_ascii=False, indent=2) + "\n")
    except OSError as error:
        sys.exit(f"error: {target}: {error.strerror}: EXAMPLE_DIR has to be a folder that can be written")
    print(f"{counts.total()} words in | {len(counts)} different ones out, in {target}")


def write_whole(target: Path, text: str) -> None:
    """Put the file in its place when all of it is written: nobody reads half of it, whenever this is killed."""
    part = target.with_name(f"{target.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(target)


if __name__ == "__main__":
    main()
