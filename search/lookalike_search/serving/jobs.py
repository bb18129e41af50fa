"""What takes long: evaluations, audits, duplicates, maps, explanations, each by a process of its own.

The processes are commands that print JSON, which becomes the result. They neither stop the threads that
answer queries nor keep memory when they are done.
"""

import asyncio
import os
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, TypedDict

from lookalike_core.logs import get_logger
from lookalike_core.text import json_line

from lookalike_search.serving.problems import Code, Problem, RefusedError, problem_of_exit_code
from lookalike_search.serving.query_fields import Fields

_logger = get_logger("serving")

MOST_WAITING = 8
MOST_KEPT = 32

MOST_BYTES = 2**27
"""What the results of all jobs that are kept may take; the oldest are forgotten first."""

_LONGEST_LINE = 2**26
_PART = 2**18
_PLACE = re.compile(r"(^|[\s'\"(:=])(/(?!/)|~|\\|[A-Za-z]:\\)|embedded:")
"""Finds the path of a file in a message: an absolute one, or that of a store."""
_FILE = re.compile(rb'"(file|html)": "(?:[^"\\]|\\.)*"')
"""Finds a path in JSON, where a name in quotes before a colon is a key."""
_STORE = re.compile(rb'"store": "(embedded):(?:[^"\\]|\\.)*"')
"""Finds the name of a store with its folder."""

_TOKEN = "LOOKALIKE_TOKEN"  # noqa: S105 - a name


class JobKind(StrEnum):
    """What a job does."""

    EVALUATION = "evaluation"
    """Measures how good the neighbours of a collection are."""
    DUPLICATES = "duplicates"
    """Finds groups of the same image."""
    AUDIT = "audit"
    """Finds wrong labels, outliers, leaks, overlapping classes and faulty images."""
    MAP = "map"
    """Places the images of a collection on a map."""
    EXPLANATION = "explanation"
    """Shows where in two indexed images their similarity comes from."""


class JobState(StrEnum):
    """How far a job is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class JobRecord(TypedDict):
    """A job."""

    schema: Literal[1]
    id: str
    """Its id, which is also the end of its address."""
    kind: JobKind
    """What it does."""
    state: JobState
    """How far it is."""
    progress: str | None
    """What it last said about its progress."""
    took_ms: float
    """How long it has been running."""
    result: list[dict[str, Any]] | None
    """What the command prints with `--json`, once it is done."""
    problem: Problem | None
    """Why it failed."""


class JobFields(TypedDict, total=False):
    """The fields of a job, as its command has options: the first two of all, the others of some kinds."""

    collection: str
    """By default the one that queries search."""
    dataset: str
    """Only images of this dataset; not of an explanation."""
    k: int
    """Of an evaluation: how many neighbours vote."""
    near_above: float
    """Of an evaluation or audit: the cosine similarity over which images count as near-duplicates."""
    without_near: bool
    """Of an evaluation: leave near-duplicates of the query out."""
    indexed: bool
    """Of an evaluation: also compare the index with exact search."""
    above: float
    """Of duplicates: the cosine similarity over which images are compared."""
    fdr: float
    """Of an audit: the share of wrong labels, outliers and classes listed that may be false; 0.05."""
    files: bool
    """Of an audit: also read the files, to find blank, dark and blurred images."""
    limit: int
    """Of a map: at most so many images, a random sample. Of an audit: findings of each kind."""
    seed: int
    """Of an evaluation, an audit or a map: the random seed."""
    query: str
    """Of an explanation: the id of an indexed image."""
    neighbour: str
    """Of an explanation: the id of another one."""
    region: str | list[float]
    """Of an explanation: the part of the first image that is meant."""


class JobList(TypedDict):
    """The jobs of a server."""

    schema: Literal[1]
    jobs: list[JobRecord]
    """The last ones, without their results."""


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """A job, and the command that does it."""

    kind: JobKind
    command: Sequence[str]
    collection: str | None = None
    """The collection that it is about; None for the default."""
    version: str = ""
    """What `Jobs.version_of` said of the collection when it began; "" if unknown."""
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    state: JobState = JobState.WAITING
    progress: str | None = None
    began: float | None = None
    took_ms: float = 0.0
    lines: Sequence[bytes] | None = None
    problem: Problem | None = None

    @property
    def result_bytes(self) -> int:
        """The size of its result."""
        return sum(map(len, self.lines or ()))

    def to_json(self) -> JobRecord:
        """Returns the job as it is now, without its result: see `body`."""
        is_running = self.state is JobState.RUNNING and self.began is not None
        took_ms = 1000 * (time.monotonic() - (self.began or 0)) if is_running else self.took_ms
        return {
            "schema": 1,
            "id": self.id,
            "kind": self.kind,
            "state": self.state,
            "progress": self.progress,
            "took_ms": round(took_ms, 1),
            "result": None,
            "problem": self.problem,
        }

    def body(self) -> Iterator[bytes]:
        """Yields the JSON of the job with its result, in parts, so that no long one stops all threads."""
        record = json_line(self.to_json())
        if self.lines is None:
            yield f"{record}\n".encode()
            return
        head, _, tail = record.partition(_NO_RESULT)
        yield f'{head}"result": ['.encode()
        for number, line in enumerate(self.lines):
            yield b", " if number else b""
            for start in range(0, len(line), _PART):
                yield line[start : start + _PART]
        yield f"]{tail}\n".encode()


_NO_RESULT = '"result": null'
"""What stands in a record without its result; in a text the quotes would be escaped."""


JobCommand = Callable[[JobKind, Fields], Sequence[str]]
"""Returns the command that does a job with these fields; raises `UsageError` for wrong ones."""


class Jobs:
    """Runs one job after the other, and keeps the last ones; its methods are those of one event loop.

    `command` is what does a job, in an environment without the server's token. Without `shows_files` results
    and messages name no files. `on_end` is told of each job that has run. `version_of` takes the
    collection of a job and returns a text that changes when it is written to; it may take a while.
    """

    def __init__(
        self,
        command: JobCommand,
        *,
        shows_files: bool,
        on_end: Callable[[Job], None] = lambda _job: None,
        version_of: Callable[[str | None], str] = lambda _collection: "",
    ) -> None:
        self._command = command
        self._on_end = on_end
        self._shows_files = shows_files
        self._version_of = version_of
        self._jobs: dict[str, Job] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._turn = asyncio.Lock()

    def start(self, kind: str, fields: Fields) -> Job:
        """Starts a job of a kind, or lets it wait for its turn.

        Raises:
            UsageError: a field is unknown or out of range.
            RefusedError: there is no such kind, or too many jobs wait.
        """
        if kind not in list(JobKind):
            raise RefusedError(Code.NOT_FOUND, f"there are jobs for {', '.join(JobKind)} only")
        command = self._command(JobKind(kind), fields)
        if len(self._tasks) >= MOST_WAITING:
            raise RefusedError(Code.BUSY, f"{len(self._tasks)} jobs are waiting already; try again later")
        job = Job(kind=JobKind(kind), command=command, collection=fields.text("collection"))
        self._jobs[job.id] = job
        self._forget_oldest()
        task = self._tasks[job.id] = asyncio.create_task(self._run(job))
        task.add_done_callback(lambda _: self._tasks.pop(job.id))
        return job

    def all(self) -> JobList:
        """Returns all jobs that are kept, without their results."""
        return {"schema": 1, "jobs": [job.to_json() for job in self._jobs.values()]}

    def get(self, id_: str) -> Job:
        """Returns a job.

        Raises:
            RefusedError: there is none of this id.
        """
        if id_ not in self._jobs:
            raise RefusedError(Code.NOT_FOUND, "there is no such job, or it is not kept any more")
        return self._jobs[id_]

    def find(self, kind: JobKind, fields: Fields) -> list[Job]:
        """Returns the jobs of a kind with these fields that are kept, the last one first.

        Raises:
            UsageError: a field is unknown or out of range.
        """
        command = self._command(kind, fields)
        return [job for job in reversed(self._jobs.values()) if job.command == command]

    async def is_outdated(self, job: Job) -> bool:
        """Returns whether the collection of a job was written to since the job began, as far as is known."""
        if not job.version:
            return False
        version = await asyncio.to_thread(self._version_of, job.collection)
        return bool(version) and version != job.version

    async def cancel(self, id_: str) -> Job:
        """Ends a job and its process, and forgets it; returns how far it was.

        Raises:
            RefusedError: there is none of this id.
        """
        job = self.get(id_)
        if (task := self._tasks.get(id_)) is not None:
            job.state = JobState.CANCELLED
            task.cancel()
            await asyncio.wait({task})
        self._jobs.pop(id_, None)
        return job

    async def close(self) -> None:
        """Ends all jobs."""
        for id_ in list(self._tasks):
            await self.cancel(id_)

    async def _run(self, job: Job) -> None:
        async with self._turn:
            job.state, job.began = JobState.RUNNING, time.monotonic()
            try:
                job.version = await asyncio.to_thread(self._version_of, job.collection)
                await self._run_process(job)
            except Exception:  # a job that nobody ends would seem to run for ever
                _logger.exception("a job failed")
                job.state, job.problem = JobState.FAILED, problem_of_exit_code(1, "the job failed")
            finally:
                job.took_ms = 1000 * (time.monotonic() - job.began)
                self._on_end(job)
                self._forget_oldest()

    async def _run_process(self, job: Job) -> None:
        process = await asyncio.create_subprocess_exec(
            *job.command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={name: value for name, value in os.environ.items() if name != _TOKEN},
            limit=_LONGEST_LINE,
        )
        try:
            printed, _ = await asyncio.gather(_read_lines(process.stdout), self._follow(job, process.stderr))
            code = await process.wait()
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
        if code:
            said = (job.progress or "").removeprefix("error: ")
            detail = said if self._shows_files and said else "the job failed"
            job.state, job.problem = JobState.FAILED, problem_of_exit_code(code, detail)
            return
        if not self._shows_files:
            printed = await asyncio.to_thread(lambda: [_without_places(line) for line in printed])
        job.lines, job.state = printed, JobState.DONE

    async def _follow(self, job: Job, said: asyncio.StreamReader | None) -> None:
        async for said_line in _lines(said):
            line = said_line.decode("utf-8", "replace")
            if self._shows_files or not _PLACE.search(line):
                job.progress = line

    def _forget_oldest(self) -> None:
        """Forgets ended jobs, the oldest first, where there are too many or their results are too large."""
        taken = sum(job.result_bytes for job in self._jobs.values())
        for id_, job in list(self._jobs.items()):
            if len(self._jobs) <= MOST_KEPT and taken <= MOST_BYTES:
                return
            if job.state not in (JobState.WAITING, JobState.RUNNING):
                taken -= job.result_bytes
                self._jobs.pop(id_)


async def _read_lines(stream: asyncio.StreamReader | None) -> list[bytes]:
    return [line async for line in _lines(stream)]


async def _lines(stream: asyncio.StreamReader | None) -> AsyncIterator[bytes]:
    if stream is not None:
        async for line in stream:
            yield line.rstrip(b"\n")


def _without_places(line: bytes) -> bytes:
    """Returns JSON without paths of files, one replacement at a time, so that other threads run between."""
    without = _FILE.sub(lambda found: b'"%s": null' % found[1], line)
    return _STORE.sub(lambda found: b'"store": "%s"' % found[1], without)
