"""One command at work on one project: the composition root, where engine and orchestrator meet."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from gigogne.choice import asked_engine, choose_engine, every_engine
from gigogne.cli.check import Part, check, pipelines_of, unique
from gigogne.cli.console import Printer
from gigogne.cli.observe import as_table, moment, observed, show_logs
from gigogne.cli.options import Common
from gigogne.cli.summary import Watermark, summary
from gigogne.compose import LoadOptions, load_project
from gigogne.compose.selection import pipeline_names, select
from gigogne.core.engine import Engine, Run
from gigogne.core.events import Notice, Preparing
from gigogne.core.graph import kinds, reachable, start_order
from gigogne.core.lint import lint
from gigogne.core.model import Kind, Problem
from gigogne.core.outcome import Result
from gigogne.core.plan import Plan, default_servers
from gigogne.errors import ComposeError, GigogneError, UnsupportedError
from gigogne.orchestrators.native import NativeOrchestrator

if TYPE_CHECKING:
    from gigogne.cli.dag_file import Airflow
    from gigogne.compose.locate import Places

__all__ = ["Session"]


class Session:
    """A loaded project, its engine, and the printer that tells what happens to it."""

    def __init__(
        self,
        common: Common,
        printer: Printer,
        services: Sequence[str] = (),
        pipelines: Sequence[str] = (),
        *,
        listed: bool = False,
        build: bool = False,
        keep: bool = False,
    ) -> None:
        """Load what is meant by services and pipelines; by neither, with `listed`, what `x-gigogne.run` lists."""
        self.printer = printer
        self.asked = asked_engine(common.engine)
        # Side by side: one waits for Compose, the other for Docker.
        with ThreadPoolExecutor(1) as pool:
            chosen = pool.submit(choose_engine, self.asked, self._progress, build=build, keep=keep)
            self.selection = select(common.load, services, pipelines, listed=listed)
            self.project = load_project(self.selection.options, self.selection.names, self.selection.places)
            self.engine, self._remarked = chosen.result()
        self._orchestrator: NativeOrchestrator | None = None
        self._interrupted = 0
        self._watermark: Watermark | None = None

    def _progress(self, service: str, text: str) -> None:
        self.printer.emit(Preparing(service, text))

    def _at_work(self) -> list[Engine]:
        """The engines that may have something of the project: without a word of it, the process engine too."""
        if self.asked != "auto" or self.engine.name == "process":
            return [self.engine]
        from gigogne.engines.process.engine import ProcessEngine

        return [self.engine, ProcessEngine.of_this_machine(self._progress)]

    def servers(self) -> tuple[str, ...]:
        """The servers that are kept up when none is named: those that a pipeline needs, or the project's.

        Raises:
            ComposeError: There are none, or what `x-gigogne` says is wrong; with file and line.
        """
        targets = self.selection.targets(self.project)
        if not targets:
            pipeline_names(self.selection.options)  # refuses a misspelt `up:`, for which all servers would stand in
        return default_servers(self.project, targets)

    def check(self, options: LoadOptions) -> int:
        """Print every problem and notice of what is asked for; 1 where there is a problem, else 0.

        Where nothing is, that is the whole project, with all its pipelines and what `x-gigogne.run` lists. Jobs are
        held to what `run` asks for, servers to what `up` does.
        """
        parts: list[Part | GigogneError] = [Part(self.project, tuple(self.project.services))]
        if self.selection.names:
            kind = kinds(self.project)
            runs = bool(self.selection.places) or all(kind[name] is Kind.JOB for name in self.selection.names)
            parts = [Part.of(self.project, self.selection.plan(self.project, stop=runs))]
        else:
            parts += pipelines_of(self.project, options)
        engines = every_engine(self._progress) if self.asked == "all" else [self.engine]
        return check(parts, engines, self.printer)

    @cached_property
    def _places(self) -> Places:
        from gigogne.compose.locate import Places

        return Places(self.project.files)

    def _located(self, problem: Problem) -> Problem:
        """The problem with the file and the line of its key, as its owner would type them."""
        return self._places.located(problem, Path.cwd())

    def execute(
        self, plan: Plan, *, jobs: int | None = None, keep_going: bool = False, job_timeout: float | None = None
    ) -> Result:
        """Carry out the plan.

        Raises:
            UnsupportedError: The files or the engine cannot do all of it; nothing was started.
        """
        if self._remarked:
            self.printer.emit(Notice("", self._remarked))
        general = lint(self.project, plan.services)
        special = self.engine.check(self.project, plan.services, publish=plan.stays)
        fatal = [self._located(problem) for problem in unique([*general, *special]) if problem.fatal]
        if any(problem.wrong for problem in fatal):
            raise ComposeError("\n".join(map(str, fatal)))
        if fatal:
            raise UnsupportedError(fatal)
        self._watermark = Watermark.now(plan, self.project, self.engine)
        run = Run(f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}", self.project, plan.services)
        self._orchestrator = NativeOrchestrator(
            self.engine,
            run,
            self.printer.emit,
            jobs=jobs or os.cpu_count() or 4,
            keep_going=keep_going,
            job_timeout=job_timeout,
        )
        self._remark(general, special)
        if self._interrupted:
            self._orchestrator.interrupt(self._interrupted)
        return self._orchestrator.execute(plan)

    def _remark(self, general: Sequence[Problem], special: Sequence[Problem]) -> None:
        """Say in full what this run does in another way and asks for something; count the rest."""
        small = [p for p in general if p.service] + [p for p in special if p.service and not p.hint]
        for problem in unique([*general, *special]):
            if self.printer.as_json or problem not in small:
                self.printer.emit(Notice(problem.service, str(self._located(problem))))
        small = unique(small)
        if small and not self.printer.as_json:
            count = f"{len(small)} more notes" if len(small) > 1 else "one more note"
            self.printer.emit(Notice("", f"{count}: gigogne check shows them"))

    def interrupt(self, code: int) -> None:
        """End what is under way with this exit code. Safe in a signal handler."""
        self._interrupted = code
        if self._orchestrator is not None:
            self._orchestrator.interrupt(code)

    def summarise(self, result: Result, plan: Plan) -> None:
        """Print what became of each job, what it wrote and where, and how to look at it."""
        assert self._watermark is not None
        table, facts = summary(result, plan, self.project, self.engine, self._watermark)
        if self.printer.as_json:
            self.printer.json(facts)
        else:
            self.printer.show(table)

    def explain(self, service: str, airflow: Airflow | None = None) -> None:
        """Print where each variable and each mount of a service comes from; with `airflow`, as its task gets them.

        Raises:
            ComposeError: There is no such service, or no task of the DAG file runs it.
            EngineError: There is a DAG file, and no Airflow to read it.
        """
        from gigogne.cli.explain import render, to_dict
        from gigogne.compose.airflow_layers import with_airflow
        from gigogne.compose.provenance import explanation
        from gigogne.core.place import chain
        from gigogne.engines.docker.engine import DockerEngine

        engine = self.engine

        def outside(source: str) -> tuple[str, ...]:
            """What the daemon calls a path of this container."""
            return chain(source, engine.position)[:-1] if isinstance(engine, DockerEngine) else ()

        made = explanation(
            self.selection.options, self.project, service, lambda mount: engine.place(mount, self.project), outside
        )
        if airflow is not None:
            added = airflow.environment(service, made.directory)
            made = with_airflow(made, self.project.services[service], self._places, added)
        if self.printer.as_json:
            self.printer.json(to_dict(made))
        else:
            self.printer.show(render(made))

    def ps(self, *, ended: bool) -> None:
        """Print what runs of the project."""
        services = [each for engine in self._at_work() for each in observed(engine, self.project, ended=ended)]
        if self.printer.as_json:
            for service in services:
                self.printer.json(service)
        elif services:
            self.printer.show(as_table(services))
        else:
            self.printer.text(
                f"{self.project.name}: nothing runs" + ("" if ended else " (gigogne ps -a: what ran last)")
            )

    def logs(self, services: Sequence[str], *, follow: bool, since: str | None, tail: int | None) -> None:
        """Print what the services wrote.

        Raises:
            ComposeError: A service is unknown, or `since` is no time.
        """
        for name in services:
            reachable(self.project, [name])
        after = moment(since) if since else 0.0
        printer = self.printer
        engines = self._at_work()
        heard = [engine for engine in engines if engine.find(self.project, ended=True)]
        shown = show_logs(
            (heard or engines)[0],
            self.project,
            services,
            printer.emit,
            follow=follow,
            since=after,
            tail=tail,
            heard=lambda: not printer.deaf,
        )
        if not shown and not self.printer.as_json:
            self.printer.text(f"{self.project.name}: nothing has run since the last gigogne down")

    def down(self, *, volumes: bool) -> None:
        """Stop everything of the project that runs, in this or any other run, and remove what it left."""
        for engine in self._at_work():
            if engine is self.engine or engine.find(self.project, ended=True):
                self._down(engine, volumes=volumes)

    def _down(self, engine: Engine, *, volumes: bool) -> None:
        for run in engine.end_runs(self.project):
            self.printer.text(f"run {run} ended")
        # What has no run and is in other files of the same `name:` is theirs.
        handles = [h for h in engine.find(self.project) if h.run or h.service in self.project.services]
        order = {name: number for number, name in enumerate(start_order(self.project.services))}
        for handle in sorted(handles, key=lambda handle: order.get(handle.service, -1), reverse=True):
            service = self.project.services.get(handle.service)
            engine.stop(handle, grace=service.stop_grace_period if service else 10.0)
            self.printer.text(f"{handle.service} stopped")
        engine.remove(self.project, volumes=volumes)
        what = "logs" if engine.name == "process" else "containers"
        removed = f"{what} and volumes removed" if volumes else f"{what} removed, volumes kept (down -v removes them)"
        self.printer.text(f"{self.project.name} on {engine.name}: {len(handles)} stopped; {removed}")
