"""Who runs the command, and what it may do."""

from __future__ import annotations

from tests.conformance.behaviour import Behaviour, job

__all__ = ["BEHAVIOURS"]

_USER_IMAGE = """\
    FROM python:3.12-slim
    RUN useradd --uid 1234 --create-home alice
    WORKDIR /app
    USER alice
    CMD ["sh", "-c", "id -u; id -un; echo $HOME; python -c 'import pathlib; print(pathlib.Path.home())'"]
    """
_WHO = "sh -c 'id -u; id -g; echo $$HOME'"
_YOURS = {"portable": "the user is yours"}

BEHAVIOURS = (
    Behaviour(
        "user-default",
        "without a user: root, whose home is `/root`",
        job(f"command: {_WHO}"),
        told={"portable": "the code sees this machine's files, paths"},
    ),
    Behaviour(
        "user-number", "`user:` as numbers that nobody knows", job(f"user: '1000:1001'\ncommand: {_WHO}"), told=_YOURS
    ),
    Behaviour("user-name", "`user:` as a name of the image", job(f"user: nobody\ncommand: {_WHO}"), told=_YOURS),
    Behaviour(
        "user-of-image",
        "the image's `USER`, with its home",
        "services:\n  job:\n    build: .\n",
        {"Dockerfile": _USER_IMAGE},
        told=_YOURS,
    ),
    Behaviour(
        "user-unknown",
        "a name that the image does not know: the job does not start",
        job("user: stranger\ncommand: echo started"),
    ),
    Behaviour(
        "user-and-volume",
        "a user may write to a new volume over a folder of its own, and to a folder that all may write to",
        """\
        services:
          job:
            build: .
            command: sh -c 'echo mine >/app/data/text; cat /app/data/text; echo out >/out/text'
            volumes: ["store:/app/data", "./out:/out"]
        volumes: {store: }
        """,
        {
            "Dockerfile": """\
            FROM python:3.12-slim
            RUN useradd --uid 1234 --create-home alice && mkdir -p /app/data && chown alice /app/data
            USER alice
            """
        },
    ),
    Behaviour(
        "user-of-others",
        "a user may not write to a folder of the project that is root's",
        job("""
            user: "1000"
            command: sh -c 'cat /data/text; touch /data/new 2>/dev/null && echo written || echo refused'
            volumes: ["./data:/data"]
        """),
        {"data/text": "here\n"},
        told={**_YOURS, "sandbox": "what you may do"},
    ),
    Behaviour(
        "memory-limit",
        "`mem_limit:` ends who takes more: 137",
        job("""
            mem_limit: 32m
            command: [python, -c, "print(len(bytearray(b'x' * 200_000_000)))"]
        """),
        told=dict.fromkeys(("sandbox", "portable"), "processes share this machine's memory"),
    ),
    Behaviour(
        "capabilities",
        "`cap_drop: [ALL]`: root without its powers cannot give a file away",
        job("""
            cap_drop: [ALL]
            command: sh -c 'touch file; chown 1000 file 2>/dev/null && echo given || echo refused'
        """),
        told={"portable": "a process has your capabilities"},
    ),
    Behaviour(
        "privileged",
        "`privileged: true`",
        job("privileged: true\ncommand: echo started"),
    ),
    Behaviour(
        "limits",
        "`ulimits:` and `cpus:`, `shm_size:`, `security_opt:` of a job that does not meet them",
        job("""
            ulimits: {nofile: 4096}
            cpus: 1
            shm_size: 64m
            security_opt: ["no-new-privileges:true"]
            logging: {driver: json-file, options: {max-size: 1m}}
            command: echo fine
        """),
    ),
)
