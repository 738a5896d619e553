"""What of an image could still go, from its layers."""

from __future__ import annotations

import pytest

from gigogne.engines.docker.layers.archive import Entry, Layer
from gigogne.engines.docker.layers.savings import Saving, largest, savings_of

SITE = "opt/venv/lib/python3.12/site-packages"


def layer(*paths: str, size: int = 10) -> Layer:
    """A layer of files that are all of a size."""
    return Layer("", tuple(Entry(path, size) for path in paths))


def by_word(word: str, *layers: Layer, base: int = 0) -> Saving | None:
    """The saving whose words have this one among them."""
    found = [saving for saving in savings_of(layers, base) if word in saving.what]
    assert len(found) < 2
    return found[0] if found else None


@pytest.mark.parametrize(
    ("word", "path", "place"),
    [
        ("apt", "var/lib/apt/lists/x_Packages", "/var/lib/apt/lists"),
        ("apt", "var/cache/apt/pkgcache.bin", "/var/cache/apt"),
        ("caches of installers", "root/.cache/uv/wheels/a.whl", "/root/.cache/uv"),
        ("caches of installers", "home/me/.cache/pip/http/1", "/home/me/.cache/pip"),
        ("temporary", "tmp/build/a.o", "/tmp/build"),
        ("compilers", "usr/bin/x86_64-linux-gnu-gcc-14", "/usr/bin/x86_64-linux-gnu-gcc-14"),
        ("compilers", "usr/libexec/gcc/x86_64-linux-gnu/14/cc1", "/usr/libexec/gcc"),
        ("compilers", "usr/bin/g++", "/usr/bin/g++"),
        ("compilers", "root/.rustup/toolchains/stable/bin/rustc", "/root/.rustup"),
        ("installers of", "bin/uv", "/bin/uv"),
        ("installers of", f"{SITE}/pip/_vendor/rich/text.py", f"/{SITE}/pip"),
        ("installers of", f"{SITE}/pip-25.3.dist-info/METADATA", f"/{SITE}/pip-25.3.dist-info"),
        ("tests", f"{SITE}/pandas/tests/frame/test_a.py", f"/{SITE}/pandas/tests"),
        ("tests", f"{SITE}/scipy/linalg/tests/data/a.npz", f"/{SITE}/scipy/linalg/tests"),
        ("headers", "usr/lib/x86_64-linux-gnu/libc.a", "/usr/lib/x86_64-linux-gnu/libc.a"),
        ("headers", f"{SITE}/pyarrow/include/arrow/api.h", f"/{SITE}/pyarrow/include"),
        ("headers", f"{SITE}/sklearn/tree/_tree.pyx", f"/{SITE}/sklearn/tree/_tree.pyx"),
        ("manuals", "usr/share/man/man1/gcc.1.gz", "/usr/share/man"),
    ],
)
def test_what_no_run_needs_is_named(word: str, path: str, place: str) -> None:
    """Each kind of file, with its bytes and with the place to look at."""
    found = by_word(word, layer(path, "app/main.py"))
    assert found is not None
    assert (found.bytes, found.files, found.places, found.secret) == (10, 1, (place,), False)
    assert found.fix


def test_what_is_needed_is_left_alone() -> None:
    """Code, data, libraries, byte code beside its source, what only sounds like a tool or a secret."""
    kept = layer(
        "app/main.py",
        "app/tests.py",
        "app/.env.example",
        "etc/passwd",
        "etc/ssl/certs/ca-certificates.crt",
        "usr/bin/assemble",
        "usr/lib/x86_64-linux-gnu/libgcc_s.so.1",
        "usr/local/bin/uvicorn",
        f"{SITE}/certifi/cacert.pem",
        f"{SITE}/pandas/testing.py",
        f"{SITE}/pandas/__pycache__/testing.cpython-312.pyc",
        f"{SITE}/pipeline/steps.py",
        f"{SITE}/numpy/_core/_multiarray.cpython-312-x86_64-linux-gnu.so",
    )
    assert savings_of([kept], 0) == []


def test_what_the_base_brought_is_not_ours() -> None:
    """The base image's pip stays; deleting a tool of it saves nothing and costs nothing."""
    base = layer("usr/local/lib/python3.12/site-packages/pip/__init__.py", "usr/bin/gcc")
    deleting = Layer("", (Entry("usr/bin/gcc", gone=True),))
    assert savings_of([base, deleting], 1) == []
    assert {saving.what for saving in savings_of([base, deleting], 0)} == {
        "installers of packages",
        "deleted by a later layer, and still there",
    }


def test_deleted_files_are_still_there() -> None:
    """Of a file, of a whole directory, of what a directory held: the bytes stay in the layer below."""
    made = layer("opt/a/x/1", "opt/a/x/2", "opt/a/3", "opt/b/1", "opt/c/1", "opt/d")
    gone = (Entry("opt/a", gone=True), Entry("opt/b", folder=True, gone=True), Entry("opt/d", gone=True))
    found = by_word("deleted", made, Layer("", (*gone, Entry("opt/a/x/9", 5))))
    assert found is not None and (found.bytes, found.files) == (50, 5)


def test_files_written_twice_are_paid_twice() -> None:
    """A `chown` in a layer of its own writes all again: of our files, and of the base image's."""
    base, made, again = layer("usr/lib/x"), layer("app/model.bin", "app/b"), layer("app/model.bin", "usr/lib/x")
    ours = by_word("written again", base, made, again, base=1)
    assert ours is not None and (ours.bytes, ours.places) == (10, ("/app",)) and "--chown" in ours.fix
    theirs = by_word("of the base image", base, made, again, base=1)
    assert theirs is not None and theirs.bytes == 10


def test_a_file_in_place_of_a_directory_hides_it() -> None:
    """What was in the directory is not seen any more, and still there."""
    found = by_word("written again", layer("data/1", "data/2"), layer("data"))
    assert found is not None and found.files == 2


def test_byte_code_of_another_python_is_a_double() -> None:
    """Beside that of the Python that most is compiled for; byte code that has no such neighbour may be needed."""
    usual = [f"{SITE}/a/__pycache__/{name}.cpython-312.pyc" for name in "xyz"]
    others = [f"{SITE}/a/__pycache__/x.cpython-311.pyc", f"{SITE}/a/__pycache__/y.cpython-312.opt-1.pyc"]
    found = by_word("byte code", layer(*usual, *others, "usr/lib/python3/dist-packages/__pycache__/q.cpython-313.pyc"))
    assert found is not None and found.files == 2


def test_secrets_are_first_even_when_deleted() -> None:
    """Who has the image has the file, in whatever layer: it comes before all sizes, and says who can read it."""
    made = Layer(
        "",
        (Entry("app/.env", 3), Entry("app/.git/config", 4, 0o600), Entry("root/.cache/pip/a", 99), Entry("app/k", 1)),
    )
    found = savings_of([made, Layer("", (Entry("app/.env", gone=True),))], 0)
    assert found[0].secret and found[0].places == ("/app/.git", "/app/.env")
    assert "every user" in found[0].what and "later layer" in found[0].fix
    private = savings_of([Layer("", (Entry("root/.aws/credentials", 1, 0o600),))], 0)
    assert [saving.what for saving in private] == ["files that look like secrets"]


def test_the_largest_parts_are_packages() -> None:
    """With the libraries and the metadata that their wheels bring; what a later layer hides does not count."""
    files = layer(
        f"{SITE}/scipy/a.py", f"{SITE}/scipy.libs/b.so", f"{SITE}/scipy-1.2.dist-info/M", "app/src/m.py", "usr/bin/x"
    )
    found = largest([layer("usr/bin/base", size=99), files, Layer("", (Entry("usr/bin/x", gone=True),))], 1)
    assert found == [(f"/{SITE}/scipy", 30), ("/app/src", 10)]
