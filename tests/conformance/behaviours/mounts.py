"""Mounts: binds, volumes, tmpfs, and one inside another."""

from __future__ import annotations

from tests.conformance.behaviour import Behaviour, job

__all__ = ["BEHAVIOURS"]

_TRY_TO_WRITE = "sh -c 'cat /data/text; touch /data/new 2>/dev/null && echo written || echo refused'"
_IMAGE = """\
    FROM python:3.12-slim
    WORKDIR /app/data
    COPY text .
    COPY deep deep
    """
_IMAGE_FILES = {"Dockerfile": _IMAGE, "text": "of the image\n", "deep/text": "deep in the image\n"}
_BUILT = "services:\n  job:\n    build: .\n"

BEHAVIOURS = (
    Behaviour(
        "bind",
        "a folder: what the project has is there, what the job writes stays",
        job("""
            command: sh -c 'cat /data/text; echo new >/data/out/new'
            volumes: ["./:/data"]
        """),
        {"text": "here\n"},
    ),
    Behaviour(
        "bind-read-only",
        "`:ro`: can be read, cannot be written",
        job(f"command: {_TRY_TO_WRITE}\nvolumes: ['./data:/data:ro']"),
        {"data/text": "here\n"},
        told={"portable": "read-only mounts can be written to"},
    ),
    Behaviour(
        "bind-file",
        "one file, in a folder that the image does not have",
        job("command: cat /etc/module/settings.ini\nvolumes: ['./conf.ini:/etc/module/settings.ini:ro']"),
        {"conf.ini": "[a]\n"},
    ),
    Behaviour(
        "bind-missing",
        "a folder that is not there: Docker makes an empty one, of root's",
        job("command: sh -c 'ls /data | wc -l'\nvolumes: ['./nowhere:/data']"),
    ),
    Behaviour(
        "bind-missing-strict",
        "`create_host_path: false` and a folder that is not there: nothing starts",
        job("""
            command: echo started
            volumes:
              - {type: bind, source: ./nowhere, target: /data, bind: {create_host_path: false}}
        """),
    ),
    Behaviour(
        "bind-nested",
        "a mount inside another one, listed before it",
        job("""
            command: sh -c 'cat /data/text /data/inner/text /data/inner/one'
            volumes: ["./one:/data/inner/one:ro", "./inner:/data/inner", "./outer:/data"]
        """),
        {
            "outer/text": "outer\n",
            "outer/inner/text": "hidden\n",
            "inner/text": "inner\n",
            "inner/one": "",
            "one": "file\n",
        },
    ),
    Behaviour(
        "bind-nested-writable",
        "a folder that can be written, inside one that cannot",
        job("""
            command: sh -c 'cat /data/text; echo result >/data/out/result; touch /data/new 2>/dev/null || echo refused'
            volumes: ["./data:/data:ro", "./out:/data/out"]
        """),
        {"data/text": "here\n", "data/out/.keep": ""},
        told={"portable": "read-only mounts can be written to"},
    ),
    Behaviour(
        "bind-links",
        "a link that stays in the folder leads to its file; one that leads out of it leads nowhere",
        job("""
            command:
              - sh
              - -c
              - |
                ln -s text /data/inside; cat /data/inside
                ln -s ../outside /data/away; cat /data/away 2>/dev/null || echo nothing
            volumes: ["./data:/data"]
        """),
        {"data/text": "here\n", "outside": "not seen\n"},
        told={"portable": "the code sees this machine's files, paths"},
    ),
    Behaviour(
        "volume-shared",
        "a named volume: what one job writes, the next one reads",
        """\
        services:
          first:
            image: python:3.12-slim
            command: sh -c 'mkdir -p /store/deep; echo made >/store/deep/text'
            volumes: ["store:/store"]
          job:
            image: python:3.12-slim
            command: cat /elsewhere/deep/text
            volumes: ["store:/elsewhere:ro"]
            depends_on: {first: {condition: service_completed_successfully}}
        volumes: {store: }
        """,
    ),
    Behaviour(
        "volume-external",
        "an `external` volume that is not there: nothing starts",
        job("command: echo started\nvolumes: ['store:/store']")
        + "volumes: {store: {external: true, name: conformance-nobodys}}\n",
    ),
    Behaviour(
        "volume-filled",
        "a new named volume gets the files that the image has there",
        f"{_BUILT}    command: sh -c 'cat text deep/text; ls'\n"
        "    volumes: ['store:/app/data']\nvolumes: {store: }\n",
        _IMAGE_FILES,
    ),
    Behaviour(
        "volume-nocopy",
        "with `nocopy` it stays empty",
        f"{_BUILT}    command: sh -c 'ls | wc -l'\n    volumes:\n"
        "      - {type: volume, source: store, target: /app/data, volume: {nocopy: true}}\nvolumes: {store: }\n",
        _IMAGE_FILES,
    ),
    Behaviour(
        "volume-hides-image",
        "a volume that is not empty hides what the image has there",
        """\
        x-job: &job
          build: .
          volumes: ["store:/app/data"]
        services:
          first: {<<: *job, command: sh -c 'echo changed >text; rm deep/text'}
          job:
            <<: *job
            command: sh -c 'cat text; ls . deep'
            depends_on: {first: {condition: service_completed_successfully}}
        volumes: {store: }
        """,
        _IMAGE_FILES,
    ),
    Behaviour(
        "volume-subpath",
        "`subpath`: a folder of a volume, which must be there before",
        """\
        services:
          first:
            image: python:3.12-slim
            command: sh -c 'mkdir -p /store/a/b; echo deep >/store/a/b/text; echo top >/store/text'
            volumes: ["store:/store"]
          job:
            image: python:3.12-slim
            command: sh -c 'ls /part; cat /part/text'
            volumes:
              - {type: volume, source: store, target: /part, volume: {subpath: a/b}}
            depends_on: {first: {condition: service_completed_successfully}}
        volumes: {store: }
        """,
    ),
    Behaviour(
        "volume-anonymous",
        "a volume without a name: new for each service, with the image's files",
        """\
        services:
          first:
            build: .
            command: sh -c 'cat text; echo changed >text'
            volumes: [/app/data]
          job:
            build: .
            command: cat text
            volumes: [/app/data]
            depends_on: {first: {condition: service_completed_successfully}}
        """,
        _IMAGE_FILES,
        jobs=("first", "job"),
    ),
    Behaviour(
        "volume-of-image",
        "the image's `VOLUME` is one, too",
        f"{_BUILT}    command: sh -c 'cat text; echo changed >text; cat text'\n",
        {**_IMAGE_FILES, "Dockerfile": f"{_IMAGE}    VOLUME /app/data\n"},
    ),
    Behaviour(
        "volume-inside-bind",
        "a volume inside a folder hides that part of it (`node_modules`, `.venv`)",
        job("""
            command: sh -c 'cat /app/text; ls /app/cache | wc -l; touch /app/cache/new'
            volumes: ["./app:/app", "/app/cache"]
        """),
        {"app/text": "code\n", "app/cache/old": ""},
    ),
    Behaviour(
        "volumes-from",
        "`volumes_from`: the mounts of another service",
        """\
        services:
          first:
            image: python:3.12-slim
            command: sh -c 'echo made >/store/text'
            volumes: ["store:/store"]
          job:
            image: python:3.12-slim
            command: cat /store/text
            volumes_from: [first]
            depends_on: {first: {condition: service_completed_successfully}}
        volumes: {store: }
        """,
    ),
    Behaviour(
        "tmpfs",
        "`tmpfs:` and `type: tmpfs`: empty at each start, can be written by anybody",
        f"{_BUILT}    command: sh -c 'ls -A . /scratch | grep text; echo a >/scratch/a; echo b >b; cat /scratch/a b'\n"
        "    tmpfs: [/scratch]\n    volumes: [{type: tmpfs, target: /app/data, tmpfs: {size: 1000000}}]\n",
        _IMAGE_FILES,
    ),
    Behaviour(
        "container-layer",
        "what a job writes beside its code is there for itself, and for nobody else",
        """\
        services:
          first:
            build: .
            command: sh -c 'echo changed >text; echo new >new; cat text new'
          job:
            build: .
            command: sh -c 'cat text; ls'
            depends_on: {first: {condition: service_completed_successfully}}
        """,
        _IMAGE_FILES,
        jobs=("first", "job"),
    ),
    Behaviour(
        "temporary-files",
        "`/tmp` is each job's own",
        """\
        services:
          first:
            image: python:3.12-slim
            command: [python, -c, "import tempfile; open(tempfile.gettempdir() + '/conformance', 'w').write('left')"]
          job:
            image: python:3.12-slim
            command: sh -c 'test -e $${TMPDIR:-/tmp}/conformance && echo there || echo gone'
            depends_on: {first: {condition: service_completed_successfully}}
        """,
    ),
    Behaviour(
        "read-only-root",
        "`read_only: true`: only mounts can be written",
        job("""
            read_only: true
            command: sh -c 'echo a >/out/a; touch /srv/new 2>/dev/null && echo written || echo refused'
            volumes: ["./out:/out"]
        """),
        told={"portable": "can be written, and is forgotten"},
    ),
)
