"""An image as `docker save` writes it, and which instruction made which layer."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence

import pytest

from gigogne.engines.docker.layers.archive import Entry, read_saved
from gigogne.engines.docker.layers.history import Made, makers_of
from gigogne.engines.docker.layers.stages import Dockerfile
from gigogne.errors import EngineError

History = Sequence[tuple[str, bool]]


def packed(files: Mapping[str, bytes | None]) -> bytes:
    """A tar archive of files; None makes a directory."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            member.size, member.mtime = len(content or b""), 7
            archive.addfile(member, io.BytesIO(content or b""))
    return written.getvalue()


def saved(layers: Sequence[bytes], history: History) -> bytes:
    """The archive of an image; of the history, each step says whether it made a layer."""
    names = [f"blobs/sha256/{number}" for number in range(len(layers))]
    steps = [{"created_by": words, **({} if makes else {"empty_layer": True})} for words, makes in history]
    manifest = [{"Config": "blobs/sha256/c", "Layers": names}]
    documents = {"blobs/sha256/c": {"history": steps}, "manifest.json": manifest}
    return packed(
        {**dict(zip(names, layers, strict=True)), **{name: json.dumps(it).encode() for name, it in documents.items()}}
    )


def in_chunks(archive: bytes, size: int = 1000) -> Iterator[bytes]:
    """The bytes as a daemon sends them: in pieces that end anywhere."""
    return (archive[at : at + size] for at in range(0, len(archive), size))


def test_layers_are_read_as_they_stream() -> None:
    """Files with their sizes, directories, what a layer deletes, what it hides of a directory; packed or not."""
    lower = packed({"etc/": None, "etc/passwd": b"root", "./opt/a/b": b"12345"})
    upper = packed({"etc/.wh.passwd": b"", "opt/a/.wh..wh..opq": b"", "opt/a/c": b"1"})
    image = read_saved(in_chunks(saved([lower, gzip.compress(upper)], [("FROM", True), ("RUN", True)])))
    assert [entry.path for entry in image.layers[0].entries] == ["etc", "etc/passwd", "opt/a/b"]
    assert image.layers[0].entries[1] == Entry("etc/passwd", 4, 0o644, 7.0)
    assert [(entry.path, entry.gone, entry.folder) for entry in image.layers[1].entries] == [
        ("etc/passwd", True, False),
        ("opt/a", True, True),
        ("opt/a/c", False, False),
    ]
    assert (image.layers[0].bytes, image.layers[1].bytes, image.bytes) == (9, 1, 10)


def test_an_empty_layer_is_one() -> None:
    """A WORKDIR that is there already makes a layer without a file."""
    image = read_saved(in_chunks(saved([packed({"a": b"1"}), packed({})], [("COPY", True), ("WORKDIR", True)])))
    assert [layer.bytes for layer in image.layers] == [1, 0]


@pytest.mark.parametrize("archive", [b"", b"no archive", packed({"a": b"b"}), packed({"manifest.json": b"[]"})])
def test_what_is_no_image_is_refused(archive: bytes) -> None:
    """An answer that is no archive of an image ends in an error that says what to look at."""
    with pytest.raises(EngineError, match="not understood") as error:
        read_saved(in_chunks(archive))
    assert "docker version" in error.value.hint


DOCKERFILE = """\
FROM python:3.12-slim AS build
RUN make
FROM python:3.12-slim
ARG TOKEN
ENV A=1
WORKDIR /app
COPY src/ \\
    src/
RUN install --token $TOKEN
CMD ["python"]
"""
OF_THE_BASE = [("# debian.sh --arch 'amd64' out/ 'trixie'", True), ("ENV PATH=/usr/local/bin", False)]
BY_BUILDKIT = [
    ("ARG TOKEN=hunter2", False),
    ("ENV A=1", False),
    ("WORKDIR /app", True),
    ("COPY src/ src/ # buildkit", True),
    ("RUN |1 TOKEN=hunter2 /bin/sh -c install --token $TOKEN # buildkit", True),
    ('CMD ["python"]', False),
]
BY_THE_OLD_BUILDER = [
    ("/bin/sh -c #(nop)  ARG TOKEN", False),
    ("/bin/sh -c #(nop)  ENV A=1", False),
    ("/bin/sh -c #(nop) WORKDIR /app", True),
    ("/bin/sh -c #(nop) COPY dir:0123 in src/ ", True),
    ("|1 TOKEN=hunter2 /bin/sh -c install --token $TOKEN", True),
    ('/bin/sh -c #(nop)  CMD ["python"]', False),
    ("/bin/sh -c #(nop)  LABEL com.docker.compose.project=a", False),
]


@pytest.mark.parametrize("steps", [BY_BUILDKIT, BY_THE_OLD_BUILDER], ids=["buildkit", "the old builder"])
def test_each_layer_has_its_instruction(steps: History) -> None:
    """The instruction as the Dockerfile has it, with its line: nobody's build arguments among it."""
    layers = [packed({str(number): b"1"}) for number in range(4)]
    image = read_saved(in_chunks(saved(layers, [*OF_THE_BASE, *steps])))
    dockerfile = Dockerfile(DOCKERFILE, "Dockerfile")
    makers = makers_of(image, dockerfile, dockerfile.target(None), None)
    assert makers.base == 1 and makers.current
    assert makers.layers[1:] == (
        Made("WORKDIR /app", 6),
        Made("COPY src/ src/", 7),
        Made("RUN install --token $TOKEN", 9),
    )


def test_an_image_of_another_dockerfile_keeps_its_secrets() -> None:
    """Where the file has changed since, the builder's own words are shown, without the values of build arguments."""
    exec_form = ("RUN |2 TOKEN=hunter2 B=two words install --now # buildkit", True)
    image = read_saved(in_chunks(saved([packed({})] * 5, [*OF_THE_BASE, *BY_BUILDKIT, exec_form])))
    dockerfile = Dockerfile(DOCKERFILE, "Dockerfile")
    makers = makers_of(image, dockerfile, dockerfile.target(None), None)
    assert makers.base is None and not makers.current
    assert makers_of(image, dockerfile, dockerfile.target(None), 1).base == 1
    assert makers.layers[3] == Made("RUN /bin/sh -c install --token $TOKEN")
    assert not [made for made in makers.layers if "hunter2" in made.instruction or "two words" in made.instruction]


def test_the_base_is_named_with_its_arguments() -> None:
    """FROM may name its image by ARGs, of which Compose gives some, and by another stage."""
    dockerfile = Dockerfile(
        "ARG REPO=docker.io\nARG BASE=${REPO}/python:3.12\nFROM ${BASE} AS a\nFROM a AS b\n", "Dockerfile"
    )
    stage = dockerfile.target("b")
    assert dockerfile.base(stage, {}) == "docker.io/python:3.12"
    assert dockerfile.base(stage, {"REPO": "mirror"}) == "mirror/python:3.12"
