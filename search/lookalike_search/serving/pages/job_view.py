"""The jobs behind views: found by their kind and fields, started and cancelled by forms.

The address of a view holds the fields of its job, so that everybody who opens it sees the same one. A form
sends `do` to that address: `start`, which leads to a result that is there, `again`, which makes another, or
`cancel`. Nothing starts by looking.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlencode

from lookalike_core.atomic import parse_json
from lookalike_core.errors import UsageError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from lookalike_search.serving.bodies import read_form_texts
from lookalike_search.serving.jobs import Job, JobKind, Jobs, JobState
from lookalike_search.serving.pages.job_options import Choices, Option, address_of, find_choices, job_fields
from lookalike_search.serving.pages.site import Site
from lookalike_search.serving.problems import Problem
from lookalike_search.serving.query_fields import Fields

ACTIONS = ("start", "again", "cancel")

_COUNTED = re.compile(r": (\d+) of (\d+) ")
"""Finds how much is done in a line of progress, such as `thumbnails: 120 of 2000 images`."""

_STORE = "store: "
"""How the line begins that each command says first, which is no progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobUnderWay:
    """A job that waits or runs."""

    id: str
    is_waiting: bool
    """Whether other jobs are before it."""
    text: str
    """What it last said."""
    share: float | None
    """How much is done, from 0 to 1, as far as it said so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """The jobs of one kind and the same fields, as a view shows them."""

    under_way: JobUnderWay | None
    """The one that waits or runs."""
    done: Job | None
    """The last one that is done."""
    problem: Problem | None
    """Why the last one failed; None once another is done or under way."""
    is_outdated: bool
    """Whether the collection was written to since the one that is done began."""

    @property
    def result(self) -> Sequence[Any] | None:
        """What the last one that is done found; a long one takes a while to read."""
        return None if self.done is None else read_result(self.done)


async def view_job(jobs: Jobs, kind: JobKind, fields: Mapping[str, str]) -> JobView:
    """Returns the jobs of a kind with these fields; starts none.

    Raises:
        UsageError: a field is unknown or out of range.
    """
    found = jobs.find(kind, _fields(fields))
    last = found[0] if found else None
    done = next((job for job in found if job.state is JobState.DONE), None)
    return JobView(
        under_way=_describe(last) if last is not None and _is_under_way(last) else None,
        done=done,
        problem=last.problem if last is not None else None,
        is_outdated=done is not None and await jobs.is_outdated(done),
    )


@lru_cache(maxsize=4)
def read_result(job: Job) -> Sequence[Any]:
    """Returns the result of a job that is done, an object for each line that its command printed."""
    return [parse_json(line) for line in job.lines or ()]


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedJob:
    """What the address of a view asks for: a job of a collection, with options. Views add what they show."""

    collection: str
    options: Mapping[str, Option]
    job_fields: Mapping[str, str]
    job: JobView

    def shown_form(self, request: Request, path: str, choices: Choices) -> dict[str, Any]:
        """Returns the values that the templates of all these views have, of the view at this path."""
        return {
            "view": path.removeprefix("/"),
            "job": self.job,
            "address": address_of(path, request, self.options),
            "choices": choices,
            "options": self.options,
            "chosen": self.collection,
        }


async def ask_job(
    site: Site, kind: JobKind, collection: str, options: Mapping[str, Option], **more: Option
) -> dict[str, Any]:
    """Returns the values of an `AskedJob`; `more` are options of the job that no address has.

    Raises:
        UsageError: an option is out of range.
    """
    fields = job_fields(collection, {**options, **more})
    job = await view_job(site.jobs, kind, fields)
    return {"collection": collection, "options": options, "job_fields": fields, "job": job}


_Asked = TypeVar("_Asked", bound=AskedJob)


def job_routes(
    site: Site,
    path: str,
    kind: JobKind,
    *,
    read: Callable[[Request], Awaitable[_Asked]],
    render: Callable[[Request, _Asked, Choices], Response],
) -> list[Route]:
    """Returns the routes of a view with a job: one shows it, one takes its forms.

    `read` returns what an address asks for, `render` its page, in a thread.
    """

    async def show(request: Request) -> Response:
        """Shows the result of the job, or how far it is, or how to start it."""
        asked = await read(request)
        choices = await find_choices(site, asked.collection)
        return await asyncio.to_thread(render, request, asked, choices)

    async def act(request: Request) -> Response:
        """Starts or cancels the job, as its form says, and leads to its view."""
        action, request = await _read_form(site, request)
        asked = await read(request)
        await _act(site.jobs, kind, asked.job_fields, action)
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"{request.url.path}{query}", status_code=HTTPStatus.SEE_OTHER)

    return [Route(path, site.answering(show)), Route(path, site.answering(act), methods=["POST"])]


async def _read_form(site: Site, request: Request) -> tuple[str, Request]:
    """Returns what the form of a job wants, and the request with the options of the form in its address.

    Options of the form take the place of those in the address; empty ones are left out.

    Raises:
        UsageError: the form wants nothing that there is.
        RefusedError: it is too large or too slow.
    """
    sent = await read_form_texts(request, site.service.limits)
    action = "".join(sent.pop("do", []))
    if action not in ACTIONS:
        raise UsageError(f"do is none of {', '.join(ACTIONS)}", argument="do", choices=ACTIONS)
    if sent:
        pairs = [(name, value) for name, values in sent.items() for value in values if value]
        request = Request({**request.scope, "query_string": urlencode(pairs).encode("ascii")})
    return action, request


async def _act(jobs: Jobs, kind: JobKind, fields: Mapping[str, str], action: str) -> None:
    """Starts or cancels a job. One under way is not started again, and one that is done only if asked.

    Raises:
        UsageError: a field is unknown or out of range.
        RefusedError: too many jobs wait.
    """
    found = jobs.find(kind, _fields(fields))
    under_way = [job for job in found if _is_under_way(job)]
    is_done = any(job.state is JobState.DONE for job in found)
    if action == "cancel":
        for job in under_way:
            await jobs.cancel(job.id)
    elif not under_way and (action == "again" or not is_done):
        jobs.start(kind, _fields(fields))


def _fields(values: Mapping[str, str]) -> Fields:
    return Fields({name: [value] for name, value in values.items()}, is_text=True)


def _is_under_way(job: Job) -> bool:
    return job.state in (JobState.WAITING, JobState.RUNNING)


def _describe(job: Job) -> JobUnderWay:
    text = "" if (job.progress or "").startswith(_STORE) else job.progress or ""
    counted = _COUNTED.search(text)
    return JobUnderWay(
        id=job.id,
        is_waiting=job.state is JobState.WAITING,
        text=text,
        share=min(1.0, int(counted[1]) / max(1, int(counted[2]))) if counted else None,
    )
