"""The variables of the shell and the files that a project's files read, wherever Compose reads them."""

from __future__ import annotations

import os

import pytest
from tests.conftest import Workspace

from gigogne.compose import LoadOptions, load_project
from gigogne.compose.referenced import referenced_files, referenced_variables


def test_where_variables_are_read(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files, what they include and extend, env files, names alone, arguments, secrets, profiles that are off."""
    workspace.write(
        {
            "compose.yaml": """
                include: [more/compose.yaml]
                services:
                  a:
                    image: x:${IN_VALUE:-${IN_DEFAULT}}
                    build: {context: ., args: [IN_ARGUMENT, SET=1]}
                    environment: [ALONE, "SET=$$NOT_READ ${IN_LIST}"]
                    env_file: [a.env]
                    secrets: [token]
                  hidden:
                    extends: {file: base.yaml, service: base}
                    profiles: [off]
                    environment: {ALONE_IN_MAP: }
                secrets:
                  token: {environment: IN_SECRET}
            """,
            "more/compose.yaml": "services: {b: {image: 'x:$IN_INCLUDED'}}",
            "base.yaml": "services: {base: {image: x, environment: [IN_EXTENDED]}}",
            "a.env": "IN_ENV_FILE_ALONE\nSET=${IN_ENV_FILE}\n",
            ".env": "SET=${IN_DOT_ENV}\n",
        }
    )
    monkeypatch.chdir(workspace.folder)
    options = LoadOptions()
    expected = "VALUE DEFAULT ARGUMENT LIST SECRET INCLUDED EXTENDED ENV_FILE_ALONE ENV_FILE DOT_ENV"
    assert referenced_variables(options, load_project(options)) == {
        "ALONE",
        "ALONE_IN_MAP",
        *(f"IN_{name}" for name in expected.split()),
    }


def test_which_files_are_read(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are included and extended, env files by what their names are worth, and by whom they are named."""
    workspace.write(
        {
            "app/compose.yaml": """
                include: [../more/compose.yaml]
                services:
                  a:
                    image: x
                    env_file: ["../.env.${WHICH}", {path: ../a$$b.env, required: false}]
                  b: {extends: {file: ../base/base.yaml, service: base}}
                  hidden: {image: x, profiles: ["off"], env_file: hidden.env}
            """,
            "more/compose.yaml": "services: {c: {image: x, env_file: c.env}}",
            "more/.env": "",
            "more/c.env": "",
            "base/base.yaml": "services: {base: {image: x, env_file: base.env}}",
            "base/base.env": "",
            ".env.shared": "",
            "app/.env": "WHICH=shared",
        }
    )
    monkeypatch.chdir(workspace.folder / "app")
    options = LoadOptions()
    found = {os.path.relpath(file, workspace.folder) for file in referenced_files(options, load_project(options))}
    expected = "app/compose.yaml app/.env app/hidden.env .env.shared a$b.env "
    expected += "more/compose.yaml more/.env more/c.env base/base.yaml base/base.env"
    assert {name.replace(os.sep, "/") for name in found} == {*expected.split()}


def test_pipelines_count(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who takes the project elsewhere may run one of them there."""
    workspace.write(
        {
            "compose.yaml": "services: {a: {image: x}}\nx-gigogne: {pipelines: {p: pipelines/p.yaml}}\n",
            "pipelines/p.yaml": "services: {a: {image: 'x:${IN_PIPELINE}', environment: [ALONE]}}",
        }
    )
    monkeypatch.chdir(workspace.folder)
    options = LoadOptions()
    project = load_project(options)
    assert referenced_variables(options, project) == {"IN_PIPELINE", "ALONE"}
    assert workspace.folder / "pipelines/p.yaml" in referenced_files(options, project)
