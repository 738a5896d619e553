"""Explaining: each way to write a variable, what feeds it, and what is lost before it reaches the service."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.compose.answers import Answers, explain, service

from gigogne.compose import LoadOptions
from gigogne.compose.explanation import Form

# -------------------------------------------------------------------------------------------------------- interpolation


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


# ---------------------------------------------------------------------------------------------------- environment forms


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


# ------------------------------------------------------------------------------------------------------------ env files


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


# ----------------------------------------------------------------------------------------------------------------- lost


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
