"""Each component's image: as it is built, against a single-stage build of the same Dockerfile.

    python benchmarks/images.py --rounds 5 --write
    python benchmarks/images.py cleaning extractor_sql --cold-rounds 3

Sizes are those that `gigogne images` prints. The clock of a rebuild runs from one more line in a source file to a
container of the new image that has started, said a word and ended; or from one more line in pyproject.toml to the built
image: all is downloaded and installed anew. The usual single stage is the same with `COPY . .` at its beginning. They
are built in turns, from a copy of the repository, to images of other names than the stack's.
`--write` puts the tables into docs/how-to/lean-images.md.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import docker

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.paired import Paired, machine, measure  # noqa: E402

from gigogne.compose import LoadOptions, load_project  # noqa: E402
from gigogne.compose.binary import compose_binary  # noqa: E402
from gigogne.core.model import Project, Service  # noqa: E402
from gigogne.engines.docker.compose import Compose, last_words  # noqa: E402
from gigogne.engines.docker.connection import connect  # noqa: E402
from gigogne.engines.docker.layers.examine import Examiner, built_images, derived  # noqa: E402
from gigogne.engines.docker.layers.report import ImageReport  # noqa: E402
from gigogne.engines.docker.layers.stages import Dockerfile, read_dockerfile  # noqa: E402

PAGE = ROOT / "docs/how-to/lean-images.md"
BEGIN, END = "<!-- measured by benchmarks/images.py -->\n", "<!-- end -->"
NAME = "images-benchmark"
SENT = ("pyproject.toml", "README.md", "LICENSE", ".dockerignore", "src", "docker", "pipelines")
MULTI, SINGLE, USUAL = "multi-stage", "single stage", "usual single stage"
LINES = count(1)


@dataclass(frozen=True)
class Contender:
    """One way to build a component: its tag, and the project in which the service is built so."""

    tag: str
    service: Service
    project: Project

    def build(self) -> None:
        """Build it; a failure ends the benchmark."""
        compose = Compose(compose_binary(), self.project, self.project.raw)
        done = compose.follow("build", self.service.name, tell=lambda _: None)
        if done.returncode:
            sys.exit(f"{self.tag}: {last_words(done.stdout)}\n{done.stdout[-2000:]}")

    def rebuild(self, source: Path) -> None:
        """Add a line to the source, build, and wait for a container of it that says a word and ends."""
        add_line(source)
        self.build()
        words = ["docker", "run", "--rm", "--entrypoint", "python", self.tag, "-c", "print('there')"]
        subprocess.run(words, check=True, capture_output=True)

    def examined(self, client: docker.DockerClient) -> ImageReport:
        """What its image is made of."""
        examiner = Examiner(client, compose_binary(), self.project, lambda *_: None)
        return examiner.examine(self.tag, [self.service], build=False, compare=False)


@dataclass(frozen=True)
class Measured:
    """What was measured of a component: reports and bytes by the way it is built."""

    service: str
    reports: Mapping[str, ImageReport]
    changed: Mapping[str, int]
    rebuild: Paired
    usual: Paired
    cold: Paired


def main() -> None:
    """Measure, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("services", nargs="*")
    options.add_argument("--rounds", type=int, default=5, help="rebuilds of each")
    options.add_argument("--cold-rounds", type=int, default=1, help="builds of each after a change of pyproject.toml")
    options.add_argument("--write", action="store_true", help="put the tables into the page")
    given = options.parse_args()
    before = machine()
    with tempfile.TemporaryDirectory() as place, closing(connect(timeout=600)) as client:
        project, engine = copied(Path(place)), client.version()["Version"]
        try:
            found = list(measured(client, project, given.services, given.rounds, given.cold_rounds))
        finally:
            removed(client)
    text = tables(found, f"Engine {engine}; {before} at the beginning, {machine()} at the end")
    print(text)
    if given.write:
        head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        PAGE.write_text(f"{head}{BEGIN}{text}{END}{rest.partition(END)[2]}", encoding="utf-8")


def copied(folder: Path) -> Project:
    """The stack with all its profiles, in a copy whose source may change."""
    for name in SENT:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    for file in ROOT.glob("docker-compose*.yml"):
        shutil.copy(file, folder / file.name)
    return load_project(LoadOptions(files=(str(folder / "docker-compose.yml"),), project_name=NAME, profiles=("*",)))


def measured(
    client: docker.DockerClient, project: Project, names: Sequence[str], rounds: int, cold_rounds: int
) -> Iterator[Measured]:
    """The components one after the other, without those that are built in one stage."""
    for service, *_ in built_images(project, names).values():
        assert service.build is not None
        dockerfile = read_dockerfile(service, project)
        stage = dockerfile.target(service.build.target)
        single = derived(client, dockerfile, stage, dockerfile.base(stage, service.build.args))
        source = source_of(dockerfile, project)
        if not single.text or source is None:
            print(f"{service.name}: {single.remark or 'it copies no Python source'}", file=sys.stderr)
            continue
        print(f"{service.name}: a line in {source.relative_to(project.directory)}", file=sys.stderr)
        first = re.sub("(?m)^(FROM .*)$", r"\1\nCOPY . /context", single.text, count=1)
        usual = contender(project, service, USUAL, first)
        ways = {MULTI: contender(project, service, MULTI, ""), SINGLE: contender(project, service, SINGLE, single.text)}
        requirements = project.directory / "pyproject.toml"
        cold = measure({way: cold_build(each, requirements) for way, each in ways.items()}, cold_rounds, warm_up=False)
        changes = {way: line_change(each, source) for way, each in ways.items()}
        rebuild = measure(changes, rounds)
        slow = measure({MULTI: changes[MULTI], USUAL: line_change(usual, source)}, cold_rounds, warm_up=False)
        reports = {way: each.examined(client) for way, each in ways.items()}
        changed = {way: changed_bytes(client, each, source, reports[way]) for way, each in ways.items()}
        yield Measured(service.name, reports, changed, rebuild, slow, cold)


def contender(project: Project, service: Service, way: str, text: str) -> Contender:
    """A way to build a service: by its own Dockerfile, or by this text."""
    assert service.build is not None
    tag = f"{NAME}/{service.name}:{way.replace(' ', '-')}"
    raw = project.raw["services"][service.name]
    if not text:
        changed, made = {**raw, "image": tag}, replace(service, image=tag)
    else:
        kept = {key: value for key, value in raw["build"].items() if key not in ("dockerfile", "target")}
        changed = {**raw, "image": tag, "build": {**kept, "dockerfile_inline": text.replace("$", "$$")}}
        build = replace(service.build, dockerfile=None, dockerfile_inline=text, target=None)
        made = replace(service, image=tag, build=build)
    model = {**project.raw, "services": {service.name: changed}}
    return Contender(tag, made, replace(project, services={service.name: made}, raw=model))


def add_line(file: Path) -> None:
    """Add a comment to a file."""
    with file.open("a", encoding="utf-8") as opened:
        opened.write(f"# line {next(LINES)}\n")


def cold_build(it: Contender, requirements: Path) -> Callable[[], None]:
    """A contender for a change of what is installed."""

    def build() -> None:
        add_line(requirements)
        it.build()

    return build


def line_change(it: Contender, source: Path) -> Callable[[], None]:
    """A contender for a change of one line."""
    return lambda: it.rebuild(source)


def source_of(dockerfile: Dockerfile, project: Project) -> Path | None:
    """The first Python file of the last folder that the Dockerfile copies from its context."""
    found = None
    for instruction in dockerfile.stages[-1].body:
        if instruction.name == "COPY" and not any(flag.startswith("--from") for flag in instruction.flags):
            folders = [project.directory / word for word in instruction.args[:-1]]
            files = [file for folder in folders for file in sorted(folder.rglob("*.py"))]
            found = next((file for file in files if file.stat().st_size), found)
    return found


def changed_bytes(client: docker.DockerClient, it: Contender, source: Path, report: ImageReport) -> int:
    """What of the image is another one after a change of one line: what a registry and its readers have to move."""

    def layers() -> list[str]:
        return list(client.images.get(it.tag).attrs["RootFS"]["Layers"])

    before = layers()
    it.rebuild(source)
    same = [one == other for one, other in zip(before, layers(), strict=True)]
    return sum(layer.bytes for layer, equal in zip(report.layers, same, strict=True) if not equal)


def removed(client: docker.DockerClient) -> None:
    """Take the images away again; what they are made of stays in the builder's cache."""
    for image in client.images.list(f"{NAME}/*"):
        for tag in image.tags:
            client.images.remove(tag)
    # Each version but the last one has lost its name.
    client.images.prune(filters={"dangling": True, "label": f"com.docker.compose.project={NAME}"})


def tables(found: Sequence[Measured], conditions: str) -> str:
    """The page's tables: sizes, then times."""
    lines = [
        "| component | above the base, MB: multi-stage | single stage | whole image, MB: multi-stage | single stage | "
        "what only the single stage carries |",
        "|---|---|---|---|---|---|",
    ]
    for each in found:
        multi, single = each.reports[MULTI], each.reports[SINGLE]
        mine = {saving.what for saving in multi.savings}
        carries = [f"{s.what} {mb(s.bytes)}" for s in single.savings if s.what not in mine and s.bytes >= 50_000]
        sizes = [mb(n) for n in (multi.above_base, single.above_base, multi.bytes, single.bytes)]
        lines.append(f"| {each.service} | {' | '.join(sizes)} | {', '.join(carries)} |")
    lines += [
        "",
        "| component | a changed line to a running container: multi-stage | single stage | paired ratio | "
        "with `COPY . .` first | bytes that change: multi-stage / single stage | "
        "all installed anew: multi-stage | single stage |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for each in found:
        times = [each.rebuild.spread(MULTI).text(" s"), each.rebuild.spread(SINGLE).text(" s")]
        times += [each.rebuild.ratio(MULTI, SINGLE).text(), each.usual.spread(USUAL).text(" s", 1)]
        times.append(f"{each.changed[MULTI]:,} / {each.changed[SINGLE]:,}")
        times += [each.cold.spread(way).text(" s", 1) for way in (MULTI, SINGLE)]
        lines.append(f"| {each.service} | {' | '.join(times)} |")
    return "\n".join([*lines, "", conditions + f", {datetime.now(UTC):%Y-%m-%d}.", ""])


def mb(size: int) -> str:
    """Bytes in millions."""
    return f"{size / 1e6:.1f}"


if __name__ == "__main__":
    main()
