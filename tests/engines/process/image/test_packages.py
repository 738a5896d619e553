"""Where packages go: the user's own, a plain directory, a removed environment, an editable project."""

from __future__ import annotations

import pytest

from .conftest import FROM, Module


def test_a_users_own_packages(module: Module) -> None:
    """What `pip install --user` installs, the user's Python sees, also after COPY --from of ~/.local."""
    module.write(
        f"{FROM[:-1]} AS a\nRUN pip install --user six\n"
        f"{FROM}RUN useradd -m app\nCOPY --from=a /root/.local /home/app/.local\nUSER app\n"
    )
    assert set(module.prepare().environments) == {"/usr/local", "/home/app/.local"}
    assert module.python("import six; print(six.__name__)") == "six"


def test_packages_in_a_directory(module: Module) -> None:
    """`pip install --target` makes a directory of the image, without a Python; files may lie beside them."""
    module.write(
        f"{FROM[:-1]} AS a\nRUN pip install --target /deps six\n"
        f"{FROM}COPY --from=a /deps /app/lib\nCOPY own.py /app/lib/\nENV PYTHONPATH=/app/lib\n",
        {"own.py": ""},
    )
    image = module.prepare()
    assert set(image.environments) == {"/usr/local"}
    assert {"six.py", "own.py"} <= {path.name for path in (image.root / "app/lib").iterdir()}
    code = "import six, own; print(six.__file__)"
    assert module.python(code, PYTHONPATH=str(image.root / "app/lib")).startswith(str(image.root))


def test_a_directory_of_packages_as_site_packages(module: Module) -> None:
    """Copied to the place of a Python's packages, they are that Python's."""
    module.write(
        f"{FROM[:-1]} AS a\nRUN pip install --target /deps six\n"
        f"{FROM}COPY --from=a /deps /usr/local/lib/python3.12/site-packages\n"
    )
    assert module.python("import six; print(six.__name__)") == "six"


def test_an_environment_that_is_removed(module: Module) -> None:
    """`rm -rf` of an environment removes it."""
    module.write(FROM + "RUN python -m venv /v && rm -rf /v\n")
    assert set(module.prepare().environments) == {"/usr/local"}


@pytest.mark.parametrize("backend", ["setuptools", "hatchling"])
@pytest.mark.parametrize("layout", ["src/pack", "pack"])
def test_an_editable_install_says_where_it_leads(module: Module, backend: str, layout: str) -> None:
    """The image names the directories that `pip install -e .` puts on sys.path, with each backend's own way."""
    build = {"setuptools": "setuptools.build_meta", "hatchling": "hatchling.build"}[backend]
    project = f"[project]\nname='pack'\nversion='1'\n[build-system]\nrequires=['{backend}']\nbuild-backend='{build}'\n"
    module.write(
        FROM + "WORKDIR /app\nCOPY . .\nRUN pip install -e .\n",
        {"pyproject.toml": project, f"{layout}/__init__.py": ""},
    )
    assert module.prepare().python_path == ("/app/src" if layout == "src/pack" else "/app",)
