"""One try of a service's job, in the process that Airflow runs its task in: found or started, listened to, ended.

The sequence is the operators'; each step is here.
"""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gigogne.airflow.files import load_options
from gigogne.airflow.job import Job
from gigogne.airflow.logs import Follower, TaskLog
from gigogne.airflow.masking import masked
from gigogne.choice import asked_engine, choose_engine
from gigogne.compose import load_project
from gigogne.compose.selection import Selection, select
from gigogne.core.engine import Engine, Handle, Line, Run, State, Status
from gigogne.core.graph import kinds
from gigogne.core.lint import lint
from gigogne.core.model import Kind, Project, Service
from gigogne.errors import ComposeError, EngineError, GigogneError, UnsupportedError

if TYPE_CHECKING:
    from gigogne.airflow.operators import OnProject

__all__ = [
    "ORDERLY",
    "Execution",
    "Interruption",
    "check",
    "guard",
    "job_service",
    "open_engine",
    "open_project",
    "read_project",
    "selection",
]

# What there is to stop in, in good order: five seconds after its SIGTERM Airflow sends SIGKILL.
ORDERLY = 3.0
_LAST_LINES = 0.5
# For so long somebody who still sees to the job of an earlier try may end it, in seconds.
_HANDOVER = 30.0
# Where the last words of a job are looked for: in so many lines of its end, else in all.
_TAIL = 100


class Interruption:
    """Ends what is under way, when Airflow asks for it, from a thread of its own.

    Airflow calls `on_kill` in a signal handler: there a lock that the interrupted code holds would never be had.
    """

    def __init__(self, operator: OnProject, act: Callable[[], None]) -> None:
        """While it holds, `on_kill` of the operator has `act` called, and again where that was of no avail.

        An `on_kill` that came before has it called at once.
        """
        self.asked = False
        self._operator = operator
        self._act = act
        self._orders: queue.SimpleQueue[bool] = queue.SimpleQueue()  # whose put is safe in a signal handler
        self._thread = threading.Thread(target=self._wait, name="gigogne-interruption", daemon=True)

    def ask(self) -> None:
        """Ask for the end. Safe in a signal handler."""
        if not self.asked:
            self.asked = True
            self._orders.put(True)

    def __enter__(self) -> Interruption:
        self._thread.start()
        self._operator.interrupt = self.ask
        if self._operator.killed:
            self.ask()
        return self

    def __exit__(self, *_: object) -> None:
        self._operator.interrupt = _nothing
        self._orders.put(False)
        self._thread.join()

    def _wait(self) -> None:
        asked = self._orders.get()
        while asked:
            with contextlib.suppress(GigogneError):  # a daemon that is gone: the reaper ends what is left
                self._act()
            with contextlib.suppress(queue.Empty):
                asked = self._orders.get(timeout=ORDERLY)


def _nothing() -> None:
    """What is over needs no end: Airflow calls `on_kill` after a time limit's exception too."""


def open_engine(asked: str, log: TaskLog) -> Engine:
    """The engine that an operator asks for: the same one in each try, or none.

    Raises:
        GigogneError: It is not to be had here.
    """

    def notify(service: str, text: str) -> None:
        log.say(f"{service}: {text}" if service else text)

    chosen = asked_engine("" if asked == "auto" else asked)
    try:
        return choose_engine(chosen, notify, fallback=False)[0]
    except EngineError as error:
        if chosen != "auto":
            raise
        raise EngineError(error.message, f"{error.hint} (in a DAG: engine='process')") from error


def selection(operator: OnProject, targets: Sequence[str]) -> Selection:
    """What of an operator's files is meant by services; by none, what a bare `gigogne run` runs.

    Raises:
        ComposeError: What `x-gigogne` says of it is wrong.
    """
    options = load_options(
        operator.project, operator.files, operator.profiles, operator.env_files, operator.project_name
    )
    return select(options, targets)


def open_project(operator: OnProject, chosen: Selection, log: TaskLog) -> tuple[Engine, Project]:
    """The engine and the project, side by side: one waits for Docker, the other for Compose.

    Raises:
        GigogneError: The files are wrong, or the engine is not to be had.
    """
    with ThreadPoolExecutor(1) as pool:
        engine = pool.submit(open_engine, operator.engine, log)
        project = read_project(chosen)
        return engine.result(), project


def read_project(chosen: Selection) -> Project:
    """The project of an operator's files.

    Raises:
        GigogneError: The files are wrong.
    """
    return load_project(chosen.options, chosen.names, chosen.places)


def check(engine: Engine, project: Project, services: Sequence[str], log: TaskLog) -> None:
    """Say what runs in another way here, and refuse what cannot run, before anything starts.

    Raises:
        ComposeError: The files are wrong.
        UnsupportedError: The engine cannot do all of it.
    """
    general, special = lint(project, services), engine.check(project, services, publish=False)
    fatal = [problem for problem in dict.fromkeys([*general, *special]) if problem.fatal]
    notices = [problem for problem in dict.fromkeys(special) if problem.hint]
    if not fatal and not notices:
        return
    from gigogne.compose.locate import Places

    places = Places(project.files)
    located = list(map(places.located, fatal))
    if any(problem.wrong for problem in fatal):
        raise ComposeError("\n".join(map(str, located)))
    if fatal:
        raise UnsupportedError(located)
    for notice in notices:
        log.say(str(places.located(notice)))


def guard(engine: Engine, project: Project) -> None:
    """Have what nobody sees to any more be ended, by a process that outlives this one."""
    engine.guard(project, ("-m", "gigogne", "reap", "--engine", engine.name, "--project", project.name))


class Execution:
    """One try of a job.

    Attributes:
        job: The job, once it is found or started.
        service: Its service.
        run: The detached run that it belongs to.
        discreet: The job's secrets are not known, so that nothing of what it wrote is shown.
    """

    def __init__(self, engine: Engine, run: Run, service: Service, log: TaskLog) -> None:
        """The id of `run` is that of all tries of the task."""
        self.service = service
        self.job: Job | None = None
        self.run = run
        self.discreet = False
        self._engine, self._log = engine, log
        self._follower: Follower | None = None
        self._interrupted = False

    @classmethod
    def of(cls, engine: Engine, job: Job, log: TaskLog) -> Execution:
        """That of a job which another process has seen to until now."""
        made = cls(engine, job.run, Service(job.handle.service, stop_grace_period=job.grace), log)
        made.job = job
        return made

    @property
    def handle(self) -> Handle:
        """The job's handle."""
        assert self.job is not None
        return self.job.handle

    def find(self, *, ending: bool = False) -> None:
        """Take over the job of an earlier try, where that is right; what else earlier tries have left is ended.

        It is right where the job runs and nobody sees to it any more, its process having been killed; and where it has
        succeeded and nobody has fetched its result. What is still seen to, or was left to the triggerer, is not wanted
        any more: the task was cleared. Nothing is wanted where this try is `ending`, too.
        """
        found = self._engine.find(self.run.project, ended=True)
        mine = [each for each in found if each.run == self.run.id and each.service == self.service.name]
        if not mine:
            return
        from gigogne.airflow.bookmark import Bookmark

        for handle in sorted(mine, key=lambda each: each.data.get("began", 0.0), reverse=True):
            status, job = self._engine.status(handle), self._job(handle)
            runs, bookmark = status.state is not State.EXITED, Bookmark(job)
            alone = not handle.data.get("attended")
            wanted = not bookmark and not ending
            if wanted and self.job is None and ((runs and alone) or (not runs and status.code == 0)):
                self.job = job
                was = "still runs" if runs else "succeeded when nobody saw to it"
                self._log.say(f"the job of an earlier try {was}: this one goes on with it, its log from the beginning")
                continue
            if runs:
                grace = self.service.stop_grace_period
                if ending:
                    self._end(handle, 0.0, min(grace, ORDERLY))
                else:
                    self._end(handle, 0.0 if alone else _HANDOVER, grace)
            self._engine.discard(handle)
            bookmark.remove()

    def _end(self, handle: Handle, patience: float, grace: float) -> None:
        if patience:
            self._log.say("the job of an earlier try is being ended: waiting for that")
            if self._engine.wait(handle, timeout=patience).state is State.EXITED:
                return
        self._engine.stop(handle, grace=grace)

    def start(self) -> None:
        """Start the job, unless one was found.

        Raises:
            GigogneError: It cannot be started.
        """
        began = time.time()
        if self.job is None and not self._interrupted:
            self.job = self._job(self._engine.start(self.service, self.run))
        if self._interrupted and self.job is not None:  # meanwhile
            self.stop()
        if self.job is not None:
            data = self.handle.data
            what = str(data.get("name") or data.get("title") or self.service.name)
            identity = f" {str(data['id'])[:12]}" if data.get("id") else ""
            left = f"; to look at it: {data['left']}" if data.get("left") else ""
            # At that time: the job's own lines come after it.
            self._log.say(f"{self.service.name} runs on {self._engine}: {what}{identity}{left}", at=began)

    def _job(self, handle: Handle) -> Job:
        assert self.run.detached is not None
        deadline = handle.data.get("deadline", self.run.detached.deadline)
        return Job(handle, self.run.project.name, self.run.services, self.service.stop_grace_period, deadline)

    def follow(self) -> None:
        """Bring what the job writes into the log, from now on."""
        assert self.job is not None
        if self.discreet:
            return
        self._follower = Follower(self._engine, self.handle, self._log, self.job.position).start()

    def wait(self, patience: float | None = None) -> Status | None:
        """Wait for the job's end, for `patience` seconds at most and not beyond its deadline; None where it goes on."""
        assert self.job is not None
        limits = [patience, None if self.job.deadline is None else max(self.job.deadline - time.time(), 0.0)]
        timeout = min((limit for limit in limits if limit is not None), default=None)
        status = self._engine.wait(self.handle, timeout=timeout)
        if status.state is not State.EXITED:
            return None
        if self._follower is not None:
            self._follower.join()
        return status

    @property
    def late(self) -> bool:
        """Whether the job's deadline has come."""
        return self.job is not None and self.job.deadline is not None and time.time() >= self.job.deadline

    def leave(self) -> Job:
        """Leave the job to others: what they need to know."""
        assert self.job is not None
        position = self._follower.stop() if self._follower is not None else self.job.position
        return replace(self.job, position=position)

    def interrupt(self) -> None:
        """End the job within seconds, or what is being prepared for it. Not for a signal handler."""
        self._interrupted = True
        self._engine.cancel()
        if self.job is not None:
            self.stop()
        if self._follower is not None and not self._follower.join(_LAST_LINES):
            self._follower.stop()  # there is no time for a long log

    def stop(self) -> None:
        """End the job within seconds."""
        self._engine.stop(self.handle, grace=min(self.service.stop_grace_period, ORDERLY))

    def discard(self) -> None:
        """Leave nothing of the job behind."""
        if self.job is not None:
            with contextlib.suppress(GigogneError):  # the reaper does it then
                self._engine.discard(self.handle)

    @contextlib.contextmanager
    def ended_on_error(self) -> Iterator[None]:
        """What breaks off in here (Airflow's time limit, Ctrl-C, a daemon that is gone) ends the job."""
        try:
            yield
        except BaseException:
            if self.job is not None:
                with contextlib.suppress(GigogneError):
                    self.stop()
                self.discard()
            raise

    def result(self) -> Any:
        """What the job hands on: the JSON that it wrote to `GIGOGNE_RESULT`, else its last line on stdout."""
        written = self._engine.result(self.handle)
        if written:
            try:
                return masked(json.loads(written))
            except (ValueError, RecursionError) as error:
                self._log.say(f"GIGOGNE_RESULT holds no JSON ({error}): the last line is taken", logging.WARNING)
        return masked(self.last_words()[0]) or None

    def last_words(self) -> tuple[str, str]:
        """The last lines of stdout and stderr that say something, also where another process has read them."""
        line, error = self._log.last_line, self._log.last_error
        if self.job is not None and self.job.position and not ((line and error) or self.discreet):
            end, end_error = last_words(self._engine.logs(self.handle, follow=False, tail=_TAIL))
            line, error = line or end, error or end_error
            line = line or last_words(self._engine.logs(self.handle, follow=False))[0]
        return line, error


def last_words(lines: Iterator[Line]) -> tuple[str, str]:
    """The last lines of stdout and of stderr that say something."""
    last: dict[str, str] = {}
    for line in lines:
        if text := line.text.strip():
            last[line.stream] = text
    return last.get("stdout", ""), last.get("stderr", "")


def job_service(project: Project, name: str) -> Service:
    """A service that ends by itself.

    Raises:
        ComposeError: It is a server.
    """
    if kinds(project)[name] is Kind.SERVER:
        raise ComposeError(
            f"{name} is a server, whose task would never end",
            "start it by StartServersOperator; or, if it ends by itself, label it gigogne.kind: job",
        )
    return project.services[name]
