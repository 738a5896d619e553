"""Several files, several services: profiles, include, extends, overrides, targets."""

from __future__ import annotations

from tests.conformance.behaviour import Behaviour

__all__ = ["BEHAVIOURS"]

_PROFILES = """\
    services:
      job:
        image: python:3.12-slim
        command: echo always
      extra:
        image: python:3.12-slim
        command: echo extra
        profiles: [extra]
      other:
        image: python:3.12-slim
        command: echo other
        profiles: [other]
    """
_ALL = ("job", "extra", "other")
_BASE = """\
    services:
      job:
        image: python:3.12-slim
        command: sh -c 'echo $$A $$B $$C; for d in /one /two; do ls $$d 2>/dev/null || true; done'
        environment: {A: base, B: base}
        volumes: ["./one:/one"]
    """
_OVERRIDE = """\
    services:
      job:
        environment: {B: override, C: override}
        volumes: ["./two:/one", "./one:/two"]
    """
_FOLDERS = {"one/1": "", "two/2": ""}

BEHAVIOURS = (
    Behaviour("profiles-on", "`--profile` brings it in", _PROFILES, options=("--profile", "extra"), jobs=_ALL),
    Behaviour(
        "profiles-target", "to name a service is as good as its profile", _PROFILES, targets=("extra",), jobs=_ALL
    ),
    Behaviour(
        "targets",
        "to name a service starts that one, and what it depends on",
        """\
        services:
          first: {image: "python:3.12-slim", command: echo first}
          job:
            image: python:3.12-slim
            command: echo job
            depends_on: {first: {condition: service_completed_successfully}}
          other: {image: "python:3.12-slim", command: echo other}
        """,
        targets=("job",),
        jobs=("first", "job", "other"),
    ),
    Behaviour(
        "override-automatic",
        "`compose.override.yaml` is added by itself: variables are merged, mounts by their target",
        _BASE,
        {"compose.override.yaml": _OVERRIDE, **_FOLDERS},
    ),
    Behaviour(
        "override-by-option",
        "with `-f`, only the files that are named, in their order",
        "",
        {
            "base.yml": _BASE,
            "prod.yml": _OVERRIDE,
            "compose.override.yaml": "services: {job: {command: echo never}}\n",
            **_FOLDERS,
        },
        options=("-f", "base.yml", "-f", "prod.yml"),
    ),
    Behaviour(
        "reset-and-override",
        "`!reset` takes a key away, `!override` puts another in its place",
        _BASE,
        {
            "compose.override.yaml": """\
            services:
              job:
                environment: !override {C: only}
                volumes: !reset []
                entrypoint: !reset null
            """,
            **_FOLDERS,
        },
    ),
    Behaviour(
        "include",
        "`include:`: paths and `.env` of the included file are those of its folder",
        """\
        include: [module/compose.yaml]
        services:
          job:
            image: python:3.12-slim
            command: echo ${COLOUR:-none}
            depends_on: {inner: {condition: service_completed_successfully}}
        """,
        {
            "module/compose.yaml": """\
            services:
              inner:
                image: python:3.12-slim
                command: sh -c 'cat /data/text; echo ${COLOUR:-none}'
                volumes: ["./data:/data"]
            """,
            "module/.env": "COLOUR=module\n",
            "module/data/text": "of the module\n",
        },
        jobs=("inner", "job"),
    ),
    Behaviour(
        "extends",
        "`extends:` of another file: its keys, its paths, and what is said anew",
        """\
        services:
          job:
            extends: {file: common/base.yml, service: base}
            environment: {B: here}
            command: sh -c 'echo $$A $$B $$C; cat /data/text'
        """,
        {
            "common/base.yml": """\
            services:
              base:
                image: python:3.12-slim
                environment: {A: base, B: base}
                env_file: base.env
                volumes: ["./data:/data"]
                command: echo never
            """,
            "common/base.env": "C=file\n",
            "common/data/text": "of the base\n",
        },
    ),
    Behaviour(
        "folder-above",
        "the Compose file is found in a folder above; its paths stay those of its folder",
        """\
        services:
          job:
            image: python:3.12-slim
            command: cat /data/text
            volumes: ["./data:/data"]
        """,
        {"data/text": "here\n", "deep/deeper/.keep": ""},
        folder="deep/deeper",
    ),
    Behaviour(
        "unknown-key",
        "a key that Compose does not know: nothing starts",
        'services: {job: {image: "python:3.12-slim", command: echo started, enviroment: {A: 1}}}\n',
    ),
)
