"""Ask Compose what a part of a file is worth: a project of our own, given to its standard input.

Each part stands alone in a service of its own. So Compose, and not we, reads env files, interpolates, and expands the
short forms; and what a losing line would have given is known as surely as what the winning one gives.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from gigogne.compose.binary import run_compose
from gigogne.core.model import Project

__all__ = ["as_node", "evaluate", "mapping"]


def as_node(value: Any) -> yaml.Node:
    """Plain data as a YAML node."""
    node = yaml.compose(json.dumps(value), Loader=yaml.SafeLoader)
    assert node is not None
    return node


def mapping(entries: Mapping[str, yaml.Node]) -> yaml.MappingNode:
    """A YAML mapping of nodes; taken from a file, they keep their style, and so their type."""
    return yaml.MappingNode("tag:yaml.org,2002:map", [(as_node(key), value) for key, value in entries.items()])


def evaluate(
    services: Mapping[str, yaml.Node], project: Project, env_files: Sequence[Path] = ()
) -> dict[str, dict[str, Any]]:
    """Services as Compose resolves them, interpolated with the shell and these env files, the winning one first.

    Nothing, where Compose refuses: then nothing is claimed either. The text holds values, so it goes through a pipe.
    """
    if not services:
        return {}
    text = mapping({"services": mapping(services)})
    words = ["--project-name", project.name, "--project-directory", str(project.directory)]
    words += [word for file in reversed(env_files) for word in ("--env-file", str(file))]
    result = run_compose(
        [*words, "-f", "-", "config", "--format", "json", "--no-consistency"],
        yaml.serialize(text, Dumper=yaml.SafeDumper, allow_unicode=True),
    )
    if result.returncode != 0:
        return {}
    # `config` doubles each dollar, so that its output can be read again.
    found: dict[str, dict[str, Any]] = json.loads(result.stdout.replace("$$", "$"))["services"]
    return found
