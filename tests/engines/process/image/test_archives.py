"""ADD of archives: unpacked by what they hold, refused when they are broken or would write elsewhere."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from typing import Literal

import pytest

from gigogne.errors import ComposeError

from .conftest import FROM, Module


def pack(path: Path, form: str, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    """An archive of `members`, packed as `form` (`gz`, …) says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    modes: dict[str, Literal["w", "w:gz", "w:bz2", "w:xz"]] = {"gz": "w:gz", "bz2": "w:bz2", "xz": "w:xz"}
    with tarfile.open(fileobj=buffer, mode=modes.get(form, "w")) as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    path.write_bytes(buffer.getvalue())
    return path


def member(name: str, content: str = "", **facts: object) -> tuple[tarfile.TarInfo, bytes]:
    """A member of an archive: a file, unless `facts` say otherwise."""
    info = tarfile.TarInfo(name)
    for key, value in {"mode": 0o644, **facts}.items():
        setattr(info, key, value)
    return info, content.encode()


@pytest.mark.parametrize("form", ["", "gz", "bz2", "xz"])
def test_an_archive_is_unpacked(module: Module, form: str) -> None:
    """Its content decides, not its name; modes and order do not matter; several members come in one pass."""
    module.write(FROM + "ADD bundle.bin plain.txt /w/\nCOPY bundle.bin /copied\n", {"plain.txt": "p"})
    archive = pack(
        module.folder / "bundle.bin", form,
        member("./z/last.txt", "last"), member("a.sh", "a" * 3000, mode=0o755),
        member("empty", type=tarfile.DIRTYPE, mode=0o755), member("z/copy", type=tarfile.LNKTYPE, linkname="a.sh"),
    )  # fmt: skip
    root = module.prepare().root
    found = {path.relative_to(root).as_posix(): path for path in root.rglob("*")}
    assert set(found) == {
        "copied", "w", "w/a.sh", "w/empty", "w/plain.txt", "w/z", "w/z/copy", "w/z/last.txt"
    }  # fmt: skip
    assert found["w/z/last.txt"].read_text() == "last"
    assert found["w/z/copy"].read_text() == found["w/a.sh"].read_text() == "a" * 3000
    assert found["copied"].read_bytes() == archive.read_bytes()
    if os.name != "nt":
        assert found["w/a.sh"].stat().st_mode & 0o777 == 0o755


def test_what_is_installed_may_come_from_an_archive(module: Module) -> None:
    """Requirements inside an archive decide what is installed, and a changed archive is seen."""
    module.write(FROM + "ADD project.tgz /app\nRUN pip install -r /app/requirements.txt\n")
    pack(module.folder / "project.tgz", "gz", member("requirements.txt", "six"))
    assert module.python("import six; print(six.__name__)") == "six"
    pack(module.folder / "project.tgz", "gz", member("requirements.txt", "idna"))
    assert module.python("import idna; print(idna.__name__)") == "idna"


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_links_in_an_archive(module: Module) -> None:
    """A link that stays inside is a link."""
    module.write(FROM + "ADD x.tar /app\n")
    pack(module.folder / "x.tar", "", member("d/f", "f"), member("d/l", type=tarfile.SYMTYPE, linkname="../d/f"))
    assert (module.prepare().root / "app/d/l").readlink() == Path("../d/f")


@pytest.mark.parametrize("content", [b"", b"not an archive at all", b"PK\x03\x04", b"\0" * 2000])
def test_other_files_are_copied(module: Module, content: bytes) -> None:
    """A file that is no archive is copied, whatever its name."""
    module.write(FROM + "ADD x.tar.gz /app/\n")
    (module.folder / "x.tar.gz").write_bytes(content)
    assert (module.prepare().root / "app/x.tar.gz").read_bytes() == content


@pytest.mark.parametrize("cut", [100, 1500])
def test_a_broken_archive(module: Module, cut: int) -> None:
    """An archive that ends too soon is an error of the files, that names it; nothing is left of it."""
    module.write(FROM + "ADD x.tar.gz /app/\n")
    whole = pack(module.folder / "x.tar.gz", "gz", member("noise", "".join(map(chr, os.urandom(3000)))))
    whole.write_bytes(whole.read_bytes()[:cut])
    (problem,) = module.check()
    assert (problem.where, problem.fatal) == ("Dockerfile:2", True)
    assert str(whole) in problem.message
    assert "broken" in problem.message
    with pytest.raises(ComposeError):
        module.prepare()


@pytest.mark.parametrize(
    ("hostile", "what"),
    [
        (member("/etc/passwd", "x"), "/etc/passwd leads out of it"),
        (member("a/../../up", "x"), "a/../../up leads out of it"),
        (member("l", type=tarfile.SYMTYPE, linkname="/etc"), "l is a link to /etc"),
        (member("a/l", type=tarfile.SYMTYPE, linkname="../../etc"), "leads out of it"),
        (member("h", type=tarfile.LNKTYPE, linkname="../outside"), "h is a link to ../outside"),
        (member("null", type=tarfile.CHRTYPE), "null is a device"),
    ],
)
def test_a_hostile_archive(module: Module, hostile: tuple[tarfile.TarInfo, bytes], what: str) -> None:
    """An entry that would reach outside is named, and nothing at all is unpacked."""
    module.write(FROM + "ADD x.tar /app/\n")
    pack(module.folder / "x.tar", "", member("good", "g"), hostile)
    (problem,) = module.check()
    assert problem.fatal
    assert what in problem.message
    assert problem.hint


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_an_archive_cannot_write_through_its_own_link(module: Module) -> None:
    """A link, and then a file under it, does not end up where the link leads."""
    module.write(FROM + "ADD x.tar /app/\n")
    link = member("l", type=tarfile.SYMTYPE, linkname="d")
    pack(module.folder / "x.tar", "", member("d/f", "f"), link, member("l/evil", "e"))
    root = module.prepare().root
    assert not (root / "app/d/evil").exists() or (root / "app/l").is_symlink()


def test_downloads_are_refused(module: Module) -> None:
    """ADD of an address or a repository says what to do instead."""
    for source in ("https://example.com/x.tar.gz", "git@example.com:a/b.git", "https://example.com/a.git#main"):
        module.write(FROM + f"ADD {source} /x\n")
        (problem,) = module.check()
        assert problem.message == "ADD that downloads is not supported"
        assert "COPY" in problem.hint
