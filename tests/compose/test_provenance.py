"""Explaining: each origin that is claimed is held against what Docker Compose itself resolves."""

from __future__ import annotations

import itertools
import os
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gigogne.compose import LoadOptions, load_project
from gigogne.compose.explanation import Explanation, FeedKind, Form, Lost, MountPath, SettingKind, Variable
from gigogne.compose.provenance import explanation
from gigogne.errors import ComposeError

SHELL_NAMES = ("COMPOSE_FILE", "COMPOSE_PROJECT_NAME", "COMPOSE_PROFILES", "COMPOSE_ENV_FILES")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Each test in a folder of its own."""
    for name in SHELL_NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    yield tmp_path


@dataclass(frozen=True)
class Answers:
    """An explanation, and the short words in which the tests ask it."""

    folder: Path
    made: Explanation

    def variable(self, name: str) -> Variable:
        """A variable by its name."""
        return next(variable for variable in self.made.variables if variable.name == name)

    def value(self, name: str) -> str | None:
        """Its value."""
        return self.variable(name).value

    def chain(self, name: str) -> list[str]:
        """The places that set a variable, the winner first, relative to the folder."""
        return [self.short(setting.where) for setting in self.variable(name).settings]

    def feeds(self, name: str) -> list[str]:
        """What the winner reads, as `X shell`, `X .env:1`, `X nowhere default`."""
        return [
            " ".join(filter(None, [f.name, self.short(f.where) if f.where else str(f.kind), f.taken]))
            for f in self.variable(name).settings[0].feeds
        ]

    def lost(self, name: str) -> list[Lost]:
        """What is said to be lost of a name."""
        return [lost for lost in self.made.lost if lost.name == name]

    def mount(self, target: str) -> MountPath:
        """The mount at a target."""
        return next(mount for mount in self.made.mounts if mount.target == target)

    def short(self, where: object) -> str:
        """A place, relative to the folder."""
        return str(where).removeprefix(f"{self.folder}{os.sep}").replace(os.sep, "/")


def explain(files: dict[str, str], options: LoadOptions | None = None, service: str = "s") -> Answers:
    """The explanation of a service of these files; a file's text is dedented unless it begins with no newline."""
    for name, text in files.items():
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(textwrap.dedent(text).lstrip("\n").encode() if text.startswith("\n") else text.encode())
    options = options or LoadOptions()
    project = load_project(options, (service,))
    made = explanation(options, project, service, lambda mount: Path("kept", mount.source) if mount.source else None)
    return Answers(Path.cwd(), made)


def service(body: str) -> dict[str, str]:
    """A `docker-compose.yml` whose service `s` begins on line 2, its body on line 4."""
    return {"docker-compose.yml": "services:\n  s:\n    image: x\n" + textwrap.indent(textwrap.dedent(body), "    ")}


# ---------------------------------------------------------------------------------------------- precedence

# How each place may set a variable, as a function of its name. A place's values name it, and so Compose's answer tells
# which place won, whatever we claim.
_ENTRIES = {
    "absent": None,
    "literal": "{name}: {place}-literal",
    "default": "{name}: '{place}-${{{name}:-default}}'",
    "passed": "{name}:",
}
_LINES = {"absent": None, "literal": "{name}={place}-literal", "passed": "{name}"}
_PLACES = {
    "override": _ENTRIES,
    "main": _ENTRIES,
    "base": {"absent": None, "literal": _ENTRIES["literal"]},
    "two": {"absent": None, "literal": _LINES["literal"]},
    "one": _LINES,
}
_FILES = {"override": "override.yml", "main": "main.yml", "base": "base.yml", "two": "two.env", "one": "one.env"}


@pytest.mark.parametrize("fed", [(), ("shell",), (".env",), ("shell", ".env")], ids=lambda fed: "+".join(fed) or "-")
def test_the_claimed_winner_gives_what_compose_resolves(fed: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every combination of two -f files, extends, two env_files, shell and `.env`: 192 variables, four times.

    The winner's file must be the one that the value of Compose names; and each loser's value must be the one that
    Compose resolves in the project without the lines above it.
    """
    names = {forms: f"V{number}" for number, forms in enumerate(itertools.product(*_PLACES.values()))}
    _write_all_combinations(names, fed, monkeypatch)
    options = LoadOptions(files=("main.yml", "override.yml"))
    project = load_project(options)
    resolved = project.services["s"].raw["environment"]
    made = Answers(Path.cwd(), explanation(options, project, "s", lambda _: None))
    known = {variable.name: variable for variable in made.made.variables}
    assert len(names) == 192 and len(known) > 180, "almost every combination sets its variable"
    assert set(known) == set(resolved)
    for forms, name in names.items():
        if name in known:
            _check_winner(made, known[name], resolved[name])
            _check_losers(known[name], forms, {forms: resolved.get(name) for forms, name in names.items()})


def _write_all_combinations(
    names: dict[tuple[str, ...], str], fed: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files in which each variable is set by the forms that are its key."""
    texts = dict.fromkeys(_PLACES, "")
    for forms, name in names.items():
        for place, form in zip(_PLACES, forms, strict=True):
            entry = _PLACES[place][form]
            texts[place] += "" if entry is None else entry.format(name=name, place=place) + "\n"
    head = "services:\n  s:\n    image: x\n"
    more = "    extends: {file: base.yml, service: s}\n    env_file: [one.env, two.env]\n"
    for place, text in texts.items():
        if _FILES[place].endswith(".yml"):
            text = f"{head}{more if place == 'main' else ''}    environment:\n{textwrap.indent(text, ' ' * 6)}"
        Path(_FILES[place]).write_text(text, encoding="utf-8")
    if ".env" in fed:
        Path(".env").write_text("".join(f"{name}=dotenv\n" for name in names.values()), encoding="utf-8")
    if "shell" in fed:
        for name in names.values():
            monkeypatch.setenv(name, "shell")


def _check_winner(made: Answers, variable: Variable, value: str | None) -> None:
    """The winner gives Compose's value, stands in the file that the value names, and was fed as the value says."""
    winner = variable.settings[0]
    assert variable.value == value and winner.value == value, variable
    place, _, kind = (value or "").rpartition("-")
    if place in _FILES:
        assert made.short(winner.where).startswith(f"{_FILES[place]}:"), variable
    feeds = {"shell": [FeedKind.SHELL], "dotenv": [FeedKind.FILE], "default": [FeedKind.UNSET], "literal": []}
    assert [feed.kind for feed in winner.feeds] == feeds.get(kind, [FeedKind.UNSET]), variable


def _check_losers(variable: Variable, forms: tuple[str, ...], resolved: dict[tuple[str, ...], str | None]) -> None:
    """Each loser gives what Compose resolves where nothing stands above it."""
    without = list(forms)
    for setting in variable.settings[1:]:
        first = next(index for index, form in enumerate(without) if form != "absent")
        without[first] = "absent"
        assert setting.value == resolved[tuple(without)], (forms, without)


def test_lines_are_those_of_the_files() -> None:
    """The line that is named holds the name, for every place that sets the variable."""
    made = explain(
        {
            "docker-compose.yml": """
            x-common: &common
              A: anchor
              B: anchor
            services:
              base:
                image: x
                environment: {A: base, C: base}
              s:
                extends: base
                image: x
                env_file: one.env
                environment:
                  <<: *common
                  A: own
            """,
            "one.env": "# comment\n\nA=one\nC=one\nD=one\n",
        }
    )
    assert made.chain("A") == ["docker-compose.yml:14", "docker-compose.yml:2", "docker-compose.yml:7", "one.env:3"]
    assert made.chain("B") == ["docker-compose.yml:3"]
    assert made.chain("C") == ["docker-compose.yml:7", "one.env:4"] and made.value("C") == "base"
    assert made.chain("D") == ["one.env:5"]
    assert [setting.kind for setting in made.variable("A").settings] == [SettingKind.ENVIRONMENT] * 3 + [
        SettingKind.ENV_FILE
    ]


# --------------------------------------------------------------------------------------------- interpolation


@pytest.mark.parametrize(
    ("text", "value", "feeds"),
    [
        ("${A:-d}", "a", ["A the shell"]),
        ("$A", "a", ["A the shell"]),
        ("x${A}y${F}", "xayf", ["A the shell", "F .env:1"]),
        ("${NONE:-d}", "d", ["NONE nowhere default"]),
        ("${NONE-d}", "d", ["NONE nowhere default"]),
        ("${EMPTY:-d}", "d", ["EMPTY the shell default"]),
        ("${EMPTY-d}", "", ["EMPTY the shell"]),
        ("${NONE:-${F}}", "f", ["NONE nowhere default", "F .env:1"]),
        ("${NONE:-${ALSO:-deep}}", "deep", ["NONE nowhere default", "ALSO nowhere default"]),
        ("${A:-${F}}", "a", ["A the shell"]),
        ("${A:+yes}", "yes", ["A the shell replacement"]),
        ("${A:+${F}}", "f", ["A the shell replacement", "F .env:1"]),
        ("${NONE:+yes}", "", ["NONE nowhere"]),
        ("${EMPTY+yes}", "yes", ["EMPTY the shell replacement"]),
        ("${A:?must be set}", "a", ["A the shell"]),
        ("a$$A", "a$A", []),
        ("${COMPOSE_PROJECT_NAME}", "demo", ["COMPOSE_PROJECT_NAME Compose itself"]),
    ],
)
def test_interpolation_says_what_it_read(
    text: str, value: str, feeds: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each operator: which variables decided, and whether the default or the replacement was taken."""
    monkeypatch.setenv("A", "a")
    monkeypatch.setenv("EMPTY", "")
    for name in ("NONE", "ALSO", "F"):
        monkeypatch.delenv(name, raising=False)
    made = explain(
        {"docker-compose.yml": f"name: demo\nservices: {{s: {{image: x, environment: ['V={text}']}}}}", ".env": "F=f\n"}
    )
    assert made.value("V") == value and made.feeds("V") == feeds
    assert made.variable("V").settings[0].form is (Form.INTERPOLATED if feeds else Form.LITERAL)


def test_what_the_shell_hides_of_dotenv_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell wins over `.env`; an empty value in the shell wins too, and gives the default."""
    monkeypatch.setenv("A", "")
    made = explain({**service("environment: {V: '${A:-d}'}"), ".env": "A=wanted\n"})
    assert made.value("V") == "d" and made.feeds("V") == ["A the shell default"]
    assert [made.short(where) for where in made.variable("V").settings[0].feeds[0].hides] == [".env:1"]
    (lost,) = made.lost("A")
    assert made.short(lost.where) == ".env:1" and "to an empty value" in lost.reason and "unset A" in lost.fix


# ------------------------------------------------------------------------------------------- environment forms


def test_a_name_alone_takes_the_shells_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """`- NAME` passes through from the shell, else from `.env`, and both forms are known."""
    monkeypatch.setenv("A", "shell")
    monkeypatch.delenv("B", raising=False)
    for body in ("environment: [A, B]", "environment: {A: , B: }", "environment: {A: null, B: ~}"):
        made = explain({**service(body), ".env": "A=dotenv\nB=dotenv\n"})
        assert (made.value("A"), made.feeds("A")) == ("shell", ["A the shell"])
        assert (made.value("B"), made.feeds("B")) == ("dotenv", ["B .env:2"])
        assert made.variable("A").settings[0].form is Form.PASSED and made.chain("A") == ["docker-compose.yml:4"]


def test_a_name_alone_that_nothing_sets_does_not_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no empty value: the variable is not there, and what an env_file says of it is hidden."""
    monkeypatch.delenv("TOKEN", raising=False)
    made = explain({**service("env_file: one.env\nenvironment:\n  - TOKEN\n"), "one.env": "TOKEN=t\n"})
    assert made.value("TOKEN") is None and made.chain("TOKEN") == ["docker-compose.yml:6", "one.env:1"]
    (lost,) = made.lost("TOKEN")
    assert "neither the shell nor an env file sets it" in lost.reason and "one.env:1" in lost.reason


def test_empty_is_not_unset() -> None:
    """`NAME=` and `NAME: ""` arrive, empty."""
    assert explain(service("environment: ['A=']")).value("A") == ""
    assert explain(service("environment: {A: ''}")).value("A") == ""


def test_values_that_yaml_types_keep_their_line() -> None:
    """Numbers, booleans and dates are Compose's to read as text; the line is confirmed all the same."""
    body = "environment:\n  A: 1.50\n  B: true\n  C: 010\n  D: 2026-11-21\n  E: 1e3\n  F: yes\n  G: 'no'\n"
    made = explain(service(body))
    assert [made.chain(name) for name in "ABCDEFG"] == [[f"docker-compose.yml:{line}"] for line in range(5, 12)]


def test_the_last_of_a_name_in_a_list_wins() -> None:
    """A list may name a variable twice."""
    made = explain(service("environment:\n  - A=1\n  - A=2\n"))
    assert made.value("A") == "2" and made.chain("A") == ["docker-compose.yml:6", "docker-compose.yml:5"]


def test_several_merge_keys() -> None:
    """With `<<: [*one, *two]` the first one wins."""
    made = explain(
        {
            "docker-compose.yml": """
            x-one: &one {A: one}
            x-two: &two
              A: two
              B: two
            services: {s: {image: x, environment: {<<: [*one, *two]}}}
            """
        }
    )
    assert made.value("A") == "one" and made.chain("A") == ["docker-compose.yml:1", "docker-compose.yml:3"]
    assert made.chain("B") == ["docker-compose.yml:4"]


# ---------------------------------------------------------------------------------------------- several files


def test_override_and_reset() -> None:
    """`!override` throws the layers below away, `!reset` removes one name."""
    files = {
        "one.yml": "services:\n  s:\n    image: x\n    environment:\n      A: one\n      B: one\n",
        "two.yml": "services:\n  s:\n    environment: {A: !reset null, C: two}\n",
        "three.yml": "services:\n  s:\n    environment: !override {D: three}\n",
    }
    made = explain(files, LoadOptions(files=("one.yml", "two.yml")))
    assert [variable.name for variable in made.made.variables] == ["B", "C"]
    assert made.chain("B") == ["one.yml:6"] and made.chain("C") == ["two.yml:3"]
    made = explain(files, LoadOptions(files=("one.yml", "two.yml", "three.yml")))
    assert [variable.name for variable in made.made.variables] == ["D"] and made.chain("D") == ["three.yml:3"]


def test_extends_across_files(here: Path) -> None:
    """A base in another folder, with an env_file of its own beside it."""
    made = explain(
        {
            **service("extends: {file: common/base.yml, service: b}\nenvironment: {A: own}\n"),
            "common/base.yml": "services:\n  b:\n    extends: c\n    image: y\n    env_file: b.env\n"
            "    environment: {A: b, B: b}\n  c:\n    image: z\n    environment: [B=c, C=c]\n",
            "common/b.env": "C=file\nD=file\n",
        }
    )
    assert made.chain("A") == ["docker-compose.yml:5", "common/base.yml:6"]
    assert made.chain("B") == ["common/base.yml:6", "common/base.yml:9"] and made.value("B") == "b"
    assert made.chain("C") == ["common/base.yml:9", "common/b.env:1"] and made.chain("D") == ["common/b.env:2"]


def test_an_included_file_has_its_own_env_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """The project's `.env` wins over the include's; names that only the include's sets come from there."""
    for name in ("A", "B", "C"):
        monkeypatch.delenv(name, raising=False)
    made = explain(
        {
            "docker-compose.yml": "include:\n  - path: part/part.yml\n    env_file: part/own.env\n",
            "part/part.yml": "services:\n  s:\n    image: x\n    environment:\n      V: ${A}${B:-none}\n"
            "      C:\n    volumes: ['./data:/data']\n  listed:\n    image: x\n    environment: [C]\n",
            "part/own.env": "A=include\nB=include\nC=include\nIDLE=include\n",
            ".env": "A=project\n",
        }
    )
    assert made.value("V") == "projectinclude" and made.chain("V") == ["part/part.yml:5"]
    assert made.feeds("V") == ["A .env:1", "B part/own.env:2"]
    assert made.lost("IDLE") and made.value("C") is None, "in a map, Compose does not look there for a name alone"
    (lost,) = made.lost("C")
    assert "own.env:3 for a name alone" in lost.reason and "C: ${C}" in lost.fix
    listed = explain({}, service="listed")
    assert listed.value("C") == "include" and listed.feeds("C") == ["C part/own.env:3"] and not listed.lost("C")
    assert made.short(made.mount("/data").where) == "part/part.yml:7"
    assert made.short(made.mount("/data").source) == "part/data"


def test_a_file_included_twice_counts_once() -> None:
    """Two components that include the same server: its lines are named once."""
    files = dict.fromkeys(("a.yml", "b.yml"), "include: [server.yml]\n")
    files["server.yml"] = "services:\n  s:\n    image: x\n    environment:\n      A: server\n    volumes: ['data:/d']\n"
    files["server.yml"] += "volumes: {data: }\n"
    made = explain({**files, "docker-compose.yml": "include: [a.yml, b.yml]\n"})
    assert made.chain("A") == ["server.yml:5"]
    assert made.short(made.mount("/d").where) == "server.yml:6" and made.mount("/d").overrides == ()


def test_a_file_that_cannot_be_read_here_is_not_guessed() -> None:
    """Where no line accounts for Compose's value (here a name that is itself a variable), no line is claimed."""
    made = explain({**service("environment:\n  - ${N}=v\n"), ".env": "N=A\n", "part.yml": "services: {}\n"})
    setting = made.variable("A").settings[0]
    assert made.value("A") == "v" and setting.where is not None and setting.where.line is None
    files = {"one.yml": "services: {s: {image: x, environment: [A=old]}}", **service("environment:\n  - ${N}=v\n")}
    made = explain(files, LoadOptions(files=("one.yml", "docker-compose.yml")))
    assert made.value("A") == "v" and made.variable("A").settings[0].where is None, "the line of `old` is not named"


# -------------------------------------------------------------------------------------------------- env files


def test_env_files_are_read_as_compose_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Byte order mark, CRLF, export, comments, quotes over several lines: each name has its own line."""
    monkeypatch.setenv("BARE", "shell")
    text = (
        "\ufeffA=1\r\n# B=0\r\nexport B=\"two # 2\" # comment\r\nE=real\r\nC: yaml\r\nD='multi\r\nE=inside\r\nline'\r\n"
        'F="a\\"b\r\nG=inside"\r\nH = spaced\r\nI=\r\nBARE\r\nA=again\r\n'
    )
    made = explain({**service("env_file: one.env"), "one.env": text})
    lines = {name: made.chain(name)[0].partition(":")[2] for name in ("A", "B", "C", "D", "E", "F", "H", "I", "BARE")}
    assert lines == {"A": "14", "B": "3", "C": "5", "D": "6", "E": "4", "F": "9", "H": "11", "I": "12", "BARE": "13"}
    assert {variable.name for variable in made.made.variables} == set(lines), "no name inside quotes is a variable"
    assert made.value("A") == "again" and made.value("B") == "two # 2" and made.feeds("BARE") == ["BARE the shell"]


def test_a_raw_env_file_and_one_that_is_missing() -> None:
    """`format: raw` keeps quotes and dollars; a missing file that is not required is named."""
    made = explain(
        {
            **service("env_file:\n  - {path: raw.env, format: raw}\n  - {path: no.env, required: false}\n"),
            "raw.env": 'A="${B}" # c\nC=\'x\n',
        }
    )
    assert made.value("A") == '"${B}" # c' and made.chain("A") == ["raw.env:1"] and made.chain("C") == ["raw.env:2"]
    assert any("no.env is not there" in note for note in made.made.notes)


def test_a_name_alone_in_an_env_file_that_nothing_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose drops it without a word."""
    monkeypatch.delenv("TOKEN", raising=False)
    made = explain({**service("env_file: one.env"), "one.env": "A=1\nTOKEN\n"})
    (lost,) = made.lost("TOKEN")
    assert made.short(lost.where) == "one.env:2" and "no value" in lost.reason


def test_which_env_file_feeds_interpolation(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--env-file` replaces `.env`, the later one wins; so does COMPOSE_ENV_FILES; and `.env` of a folder below."""
    monkeypatch.delenv("A", raising=False)
    files = {**service("environment: {V: '${A:-none}'}"), ".env": "A=dotenv\n", "1.env": "A=1\n", "2.env": "#\nA=2\n"}
    made = explain(files, LoadOptions(env_files=("1.env", "2.env")))
    assert made.value("V") == "2" and made.feeds("V") == ["A 2.env:2"]
    (lost,) = made.lost("A")
    assert made.short(lost.where) == "1.env:1" and "2.env:2" in lost.reason
    monkeypatch.setenv("COMPOSE_ENV_FILES", "2.env,1.env")
    made = explain(files)
    assert made.value("V") == "1" and made.feeds("V") == ["A 1.env:1"]
    monkeypatch.delenv("COMPOSE_ENV_FILES")
    folder = Path("below")
    folder.mkdir()
    (folder / ".env").write_text("A=below\n", encoding="utf-8")
    monkeypatch.chdir(folder)
    made = explain({})
    assert made.value("V") == "below" and made.feeds("V") == ["A .env:1"]
    monkeypatch.setenv("COMPOSE_DISABLE_ENV_FILE", "1")
    assert explain({}).value("V") == "none" and explain({}).feeds("V") == ["A nowhere default"]


def test_compose_file_in_dotenv_and_a_project_directory(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`COMPOSE_FILE` in `.env` names the files; `--project-directory` is where paths and `.env` begin."""
    monkeypatch.delenv("A", raising=False)
    text = "services:\n  s:\n    image: x\n    environment: ['V=${A:-none}']\n    volumes: ['./d:/data']\n"
    files = {"other/my.yml": text, "other/.env": "A=other\n", "start/.env": "COMPOSE_FILE='../other/my.yml'\n"}
    made = explain(
        {**files, "docker-compose.yml": "services: {s: {image: wrong}}"}, LoadOptions(files=("other/my.yml",))
    )
    assert made.feeds("V") == ["A other/.env:1"] and made.short(made.mount("/data").source) == "other/d"
    made = explain(files, LoadOptions(files=("other/my.yml",), directory="start"))
    assert made.value("V") == "none" and made.short(made.mount("/data").source) == "start/d"
    monkeypatch.chdir("start")
    made = Answers(here, explain({}).made)
    assert made.value("V") == "other" and made.feeds("V") == ["A other/.env:1"]
    assert made.chain("V") == ["other/my.yml:4"] and made.short(made.mount("/data").where) == "other/my.yml:5"


def test_an_env_file_that_reads_dotenv_and_the_environment() -> None:
    """A value of an env_file may use `.env`, the file before it and `environment:`; it is Compose's in any case."""
    made = explain(
        {
            **service("env_file: [one.env, two.env]\nenvironment: {E: env}\n"),
            ".env": "D=dotenv\n",
            "one.env": "ONE=${D}\n",
            "two.env": "TWO=${ONE}\nTHREE=${E}\n",
        }
    )
    assert [made.value(name) for name in ("ONE", "TWO", "THREE")] == ["dotenv", "dotenv", "env"]
    assert made.chain("THREE") == ["two.env:2"] and not made.lost("D"), "the env_file reads it"


# -------------------------------------------------------------------------------------------------------- lost


def test_dotenv_is_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commonest mistake: a variable in `.env` that nothing refers to. Compose's own settings are no loss."""
    for name in ("SECRET_KEY", "TAG", "OTHER"):
        monkeypatch.delenv(name, raising=False)
    text = "services: {s: {image: 'x:${TAG}', environment: {A: b}}, t: {image: x, environment: [OTHER]}}"
    made = explain({"docker-compose.yml": text, ".env": "SECRET_KEY=k\nTAG=1\nOTHER=o\nCOMPOSE_PROFILES=\n"})
    assert [lost.name for lost in made.made.lost] == ["OTHER", "SECRET_KEY"]
    assert made.lost("OTHER")[0].reason == "only other services refer to it"
    (lost,) = made.lost("SECRET_KEY")
    assert made.short(lost.where) == ".env:1" and "`- SECRET_KEY`" in lost.fix and "env_file: .env" in lost.fix


def test_dotenv_as_env_file_arrives() -> None:
    """`env_file: .env` is the cure, and then nothing is lost."""
    made = explain({**service("env_file: .env"), ".env": "TOKEN=t\n"})
    assert made.value("TOKEN") == "t" and made.chain("TOKEN") == [".env:1"] and not made.made.lost


def test_a_literal_wins_over_the_shell_and_dotenv(monkeypatch: pytest.MonkeyPatch) -> None:
    """Setting it in the shell changes nothing: said for `environment:` and for an env_file, with the cure for each."""
    monkeypatch.setenv("A", "shell")
    monkeypatch.setenv("B", "shell")
    made = explain({**service("env_file: one.env\nenvironment: {A: literal}\n"), "one.env": "B=1\n", ".env": "A=dot\n"})
    of_dotenv, of_shell = made.lost("A")
    assert made.short(of_dotenv.where) == ".env:1" and of_shell.where is None and "${A}" in of_shell.fix
    assert "docker-compose.yml:5" in of_shell.reason
    (lost,) = made.lost("B")
    assert "one.env:1" in lost.reason and "without `=`" in lost.fix


def test_the_same_value_in_the_shell_is_no_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is said where nothing would change."""
    monkeypatch.setenv("A", "literal")
    assert not explain(service("environment: {A: literal}")).made.lost


def test_secrets_and_build_arguments_read_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that feeds a secret or a build argument is used; the argument itself is gone at run time."""
    for name in ("PIP_TOKEN", "DB"):
        monkeypatch.delenv(name, raising=False)
    text = """
        services:
          s:
            build:
              context: .
              args:
                - PIP_TOKEN
                - MODE=x
            secrets: [db]
        secrets: {db: {environment: DB}}
    """
    made = explain(
        {
            "docker-compose.yml": text,
            ".env": "PIP_TOKEN=p\nDB=d\n",
            "Dockerfile": "FROM x\nARG PIP_TOKEN\nARG MODE=y EXTRA=z\nENV MODE=$MODE\n",
        }
    )
    assert [(lost.name, made.short(lost.where)) for lost in made.made.lost] == [
        ("PIP_TOKEN", "docker-compose.yml:6"),
        ("EXTRA", "Dockerfile:3"),
    ]
    assert "build argument" in made.made.lost[0].reason and made.value("MODE") == "x"


# ------------------------------------------------------------------------------------------------------- image


def test_the_image_env_is_the_last_in_the_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    """ENV of the built stage and those below it, with lines over continuations; `environment:` overrides it."""
    monkeypatch.delenv("D", raising=False)
    dockerfile = """
        FROM python:3.12 AS base
        ENV A=base \\
            B="base two"
        ENV OLD old form
        FROM base AS final
        ENV A=$A-final D=image
        FROM base AS other
        ENV A=other
    """
    body = "build: {context: ., target: final}\nenvironment: {B: compose, D: }\n"
    made = explain({**service(body), "Dockerfile": dockerfile})
    assert made.value("A") == "base-final" and made.chain("A") == ["Dockerfile:6", "Dockerfile:2"]
    assert made.chain("B") == ["docker-compose.yml:5", "Dockerfile:3"] and made.value("B") == "compose"
    assert made.value("OLD") == "old form" and made.chain("OLD") == ["Dockerfile:4"]
    assert made.value("D") is None and made.chain("D")[1] == "Dockerfile:6", "a name alone removes the image's"


def test_an_inline_dockerfile_has_lines_too() -> None:
    """`dockerfile_inline` as a block: the line of the Compose file."""
    body = "build:\n  dockerfile_inline: |\n    FROM x\n    ENV A=1\n"
    assert explain(service(body)).chain("A") == ["docker-compose.yml:7"]


# ------------------------------------------------------------------------------------------------------ mounts


def test_each_mount_has_its_chain(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Binds, volumes, tmpfs in short and long form, with their lines, what they resolve to and what is there."""
    monkeypatch.delenv("SRC", raising=False)
    body = """\
        volumes:
          - ${SRC:-./full}:/full:ro
          - ./empty:/empty
          - ./nothing:/nothing
          - data:/data
          - /anonymous
          - type: bind
            source: ./full/file.txt
            target: /etc/file.txt
            bind: {create_host_path: false}
        tmpfs: /scratch:size=1m
    """
    files = service(body)
    files["docker-compose.yml"] += "volumes: {data: }\n"
    Path("empty").mkdir()
    made = explain({**files, "full/file.txt": "12345"})
    full = made.mount("/full")
    assert (full.kind, full.written, made.short(full.where)) == (
        "bind",
        "${SRC:-./full}:/full:ro",
        "docker-compose.yml:5",
    )
    assert full.source == str(here / "full") and full.read_only and full.content == "1 entry" and not full.problem
    empty, nothing = made.mount("/empty"), made.mount("/nothing")
    assert empty.content == "empty" and "sees no files at /empty" in empty.problem
    assert nothing.content == "not there" and "empty directory" in nothing.problem
    data = made.mount("/data")
    assert (data.kind, data.source, data.place) == ("volume", f"{here.name.lower()}_data", Path("kept/data"))
    assert made.mount("/anonymous").kind == "anonymous volume" and made.mount("/scratch").kind == "tmpfs"
    long = made.mount("/etc/file.txt")
    assert (long.written, made.short(long.where)) == ("./full/file.txt", "docker-compose.yml:10")
    assert long.content == "a file of 5 bytes" and made.short(made.mount("/scratch").where) == "docker-compose.yml:14"


def test_a_later_file_mounts_over_an_earlier_one() -> None:
    """At one target the later file wins, and says over which line."""
    files = {
        "one.yml": "services:\n  s:\n    image: x\n    volumes:\n      - ./one:/t\n      - ./two:/u\n",
        "two.yml": "services:\n  s:\n    volumes: ['./new:/t']\n",
    }
    made = explain(files, LoadOptions(files=("one.yml", "two.yml")))
    mount = made.mount("/t")
    assert (made.short(mount.source), made.short(mount.where)) == ("new", "two.yml:3")
    assert [made.short(where) for where in mount.overrides] == ["one.yml:5"] and made.mount("/u").overrides == ()


def test_a_file_and_a_directory_do_not_fit() -> None:
    """A directory at a target that looks like a file (Docker made it, once), and a file where the module works."""
    Path("config.yml").mkdir()
    body = "working_dir: /app\nvolumes: ['./config.yml:/app/config.yml', './file:/app', './set:/rows.parquet']\n"
    made = explain({**service(body), "file": "x", "set/part-0": "x"})
    assert not made.mount("/rows.parquet").problem, "a directory with files in it is meant to be one"
    assert "looks like a file" in made.mount("/app/config.yml").problem
    assert "is a file" in made.mount("/app").problem


def test_secrets_and_configs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where each comes from, by its line; never its content."""
    monkeypatch.delenv("DB", raising=False)
    text = """
        services:
          s: {image: x, secrets: [f, {source: e, target: /run/e}], configs: [c]}
        secrets:
          f:
            file: ./f.txt
          e:
            environment: DB
        configs:
          c:
            content: "password = hunter2"
    """
    made = explain({"docker-compose.yml": text, "f.txt": "secret"})
    secret, variable, config = made.mount("/run/secrets/f"), made.mount("/run/e"), made.mount("/c")
    assert (secret.kind, secret.written, made.short(secret.where)) == (
        "secret",
        "file: ./f.txt",
        "docker-compose.yml:5",
    )
    assert secret.content == "a file of 6 bytes" and secret.read_only
    assert (variable.content, made.short(variable.where)) == ("not set", "docker-compose.yml:7") and variable.problem
    assert (config.kind, config.content) == ("config", "inline text") and "hunter2" not in repr(made.made)


# ------------------------------------------------------------------------------------------------------- others


def test_no_value_is_in_the_repr() -> None:
    """The data that reaches a log holds no value."""
    made = explain({**service("env_file: .env\nenvironment: {A: hunter2}\n"), ".env": "B=hunter3\nC=hunter2\n"})
    assert made.value("A") == "hunter2" and "hunter" not in repr(made.made)


def test_an_unknown_service_is_refused_with_the_known_ones() -> None:
    """The error lists what there is."""
    Path("docker-compose.yml").write_text("services: {a: {image: x}, b: {image: x}}", encoding="utf-8")
    project = load_project(LoadOptions())
    with pytest.raises(ComposeError, match="no service zz") as caught:
        explanation(LoadOptions(), project, "zz", lambda _: None)
    assert "a, b" in caught.value.hint


def test_a_service_behind_a_profile_is_explained() -> None:
    """Naming it is enough, as with `run`."""
    text = "services: {t: {image: x}, s: {image: x, profiles: [p], environment: {A: '1'}}}"
    assert explain({"docker-compose.yml": text}).chain("A") == ["docker-compose.yml:1"]
