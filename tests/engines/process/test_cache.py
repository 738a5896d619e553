"""Directories that are made once and removed whole."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

from gigogne.engines.process.cache import remove_tree


def test_what_forbids_its_removal_is_removed(tmp_path: Path) -> None:
    """Directories without permissions go too, and the directory above keeps its own."""
    inner = tmp_path / "tree" / "closed"
    inner.mkdir(parents=True)
    (inner / "file").write_text("x", encoding="utf-8")
    inner.chmod(0)
    tmp_path.chmod(0o755)
    remove_tree(tmp_path / "tree")
    assert not (tmp_path / "tree").exists() and stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_a_tree_that_grows_meanwhile(tmp_path: Path) -> None:
    """Somebody who still writes into the tree costs the directory above no permission."""
    tree, over = tmp_path / "tree", threading.Event()
    tmp_path.chmod(0o755)

    def write() -> None:
        number = 0
        while not over.is_set():
            number += 1
            try:
                tree.mkdir(exist_ok=True)
                (tree / f"{number}").touch()
            except OSError:
                continue

    thread = threading.Thread(target=write)
    thread.start()
    for _ in range(200):
        remove_tree(tree)
    over.set()
    thread.join()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    remove_tree(tree)
    assert not tree.exists()
