"""Secrets and configs: files, variables and texts that become files."""

from __future__ import annotations

from tests.conformance.behaviour import Behaviour, job

__all__ = ["BEHAVIOURS"]

BEHAVIOURS = (
    Behaviour(
        "secret-file",
        "a secret of a file is at `/run/secrets/NAME`",
        job("command: cat /run/secrets/token\nsecrets: [token]") + "secrets: {token: {file: ./token.txt}}\n",
        {"token.txt": "s3cret\n"},
    ),
    Behaviour(
        "secret-target",
        "`target:` of a secret is its name there, or a whole path",
        job("""
            command: cat /run/secrets/other /etc/module/token
            secrets:
              - {source: token, target: other}
              - {source: token, target: /etc/module/token}
        """)
        + "secrets: {token: {file: ./token.txt}}\n",
        {"token.txt": "s3cret\n"},
    ),
    Behaviour(
        "secret-variable",
        "a secret of a variable",
        job("command: cat /run/secrets/token\nsecrets: [token]")
        + "secrets: {token: {environment: CONFORMANCE_TOKEN}}\n",
        environment={"CONFORMANCE_TOKEN": "s3cret"},
    ),
    Behaviour(
        "secret-missing",
        "a secret whose file is not there: nothing starts",
        job("command: echo started\nsecrets: [token]") + "secrets: {token: {file: ./nowhere.txt}}\n",
    ),
    Behaviour(
        "config-file",
        "a config of a file is at `/NAME`, or at its `target:`; it cannot be written",
        job("""
            command: sh -c 'cat /settings /etc/module.ini'
            configs:
              - settings
              - {source: settings, target: /etc/module.ini}
        """)
        + "configs: {settings: {file: ./settings.ini}}\n",
        {"settings.ini": "[a]\nb = 1\n"},
    ),
    Behaviour(
        "config-content",
        "a config of a text, with `${NAME}`",
        job("command: cat /settings\nconfigs: [settings]")
        + "configs:\n  settings:\n    content: |\n      colour = ${COLOUR}\n      price = 5$$\n",
        environment={"COLOUR": "red"},
    ),
    Behaviour(
        "config-variable",
        "a config of a variable",
        job("command: cat /settings\nconfigs: [settings]") + "configs: {settings: {environment: SETTINGS}}\n",
        environment={"SETTINGS": "line 1\nline 2"},
    ),
)
