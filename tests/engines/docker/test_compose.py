"""The Compose binary at work, on a real engine."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from gigogne.compose import LoadOptions, load_project
from gigogne.compose.binary import compose_binary
from gigogne.engines.docker.compose import Compose


@pytest.mark.docker
def test_an_exception_ends_what_is_followed(tmp_path: Path) -> None:
    """A build does not outlive the call that follows it: nobody else would end it, nor wait for it."""
    mark = uuid4().hex
    (tmp_path / "Dockerfile").write_text(f"FROM busybox:1.36\nRUN echo {mark} && sleep 120\n", encoding="utf-8")
    file = tmp_path / "docker-compose.yml"
    file.write_text(f"name: follow-{mark}\nservices: {{it: {{build: .}}}}\n", encoding="utf-8")
    project = load_project(LoadOptions(files=(str(file),)))
    compose, before = Compose(compose_binary(), project, project.raw), set(psutil.Process().children())

    def tell(text: str) -> None:
        if text.endswith(mark):  # it sleeps now
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compose.follow("build", "it", tell=tell)
    assert set(psutil.Process().children()) <= before
