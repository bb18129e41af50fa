"""The views `/evaluation`: how good the neighbours of a collection are, and which images are confused.

A job evaluates. Its record is shown by the macros of the report of `search evaluate --html`.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from lookalike_core.neighbours.near_duplicates import NEAR_ABOVE
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lookalike_search.evaluation.head_splits import MEANINGS
from lookalike_search.evaluation.leave_one_out import SHOWN
from lookalike_search.evaluation.mistakes import RULE
from lookalike_search.evaluation.summary import FIGURES, sort_worst_first
from lookalike_search.reports.shown_evaluation import Cell, confusion_rows, read_evaluation, shown_classes
from lookalike_search.reports.thumbnail_gallery import Frame
from lookalike_search.serving.jobs import JobKind
from lookalike_search.serving.pages.job_options import (
    Choices,
    Option,
    address_of,
    class_address,
    find_score_name,
    query_address,
    read_options,
    thumbnail_address,
)
from lookalike_search.serving.pages.job_view import AskedJob, ask_job, job_routes
from lookalike_search.serving.pages.site import Site
from lookalike_search.serving.problems import Code, RefusedError
from lookalike_search.serving.query_fields import MOST_VOTERS

MOST_WRONG = 200
"""Wrong verdicts that are shown, the worst first."""

_EDGE = 256


def routes(site: Site) -> list[Route]:
    """Returns the addresses of this view."""
    view = _Evaluation(site=site)
    return [
        *job_routes(site, "/evaluation", JobKind.EVALUATION, read=view.read, render=view.render),
        Route("/evaluation/confused", site.answering(view.show_confused)),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Evaluation:
    """Answers the addresses of this view."""

    site: Site

    def render(self, request: Request, asked: "_Asked", choices: Choices) -> Response:
        """Returns the page of an evaluation, or how far its job is, or how to start it."""
        shown = {} if asked.job.done is None else _show(request, asked)
        return self.site.render(
            request,
            "evaluation.html",
            **asked.shown_form(request, "/evaluation", choices),
            default_k=SHOWN,
            default_near_above=NEAR_ABOVE,
            **{"shown": None} | shown,
        )

    async def show_confused(self, request: Request) -> Response:
        """Shows queries of a class with their neighbours of another one."""
        asked = await self.read(request)
        score = await find_score_name(self.site, asked.collection)
        return await asyncio.to_thread(self._render_confused, request, asked, score)

    def _render_confused(self, request: Request, asked: "_Asked", score: str) -> Response:
        pair = (asked.own, asked.other)
        record = asked.record
        confused = next(
            (each for each in record["confused"] if (each["class"], each["neighbour_class"]) == pair), None
        )
        if confused is None:
            raise RefusedError(Code.NOT_FOUND, "no images of these two classes are kept as confused")
        return self.site.render(
            request,
            "confused.html",
            view="evaluation",
            confused=confused,
            score=score,
            back=f"{address_of('/evaluation', request, asked.options)}#s-table",
            **_linking(request),
        )

    async def read(self, request: Request) -> "_Asked":
        """Reads the address of any of these views.

        Raises:
            UsageError: a field is unknown or out of range.
            CollectionMissingError: the collection does not exist, or is not served.
        """
        collection = await self.site.choose_collection(request)
        fields = read_options(request)
        k = fields.whole("k", SHOWN, low=1, high=MOST_VOTERS)
        options: dict[str, Option] = {
            "dataset": fields.text("dataset"),
            "k": None if k == SHOWN else k,
            "near_above": fields.optional_number("near_above", low=0, high=1),
            "without_near": fields.flag("without_near"),
            "indexed": fields.flag("indexed"),
        }
        own, other = fields.text("class"), fields.text("as")
        fields.require_all_read()
        asked = await ask_job(self.site, JobKind.EVALUATION, collection, options)
        return _Asked(**asked, own=own, other=other)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked(AskedJob):
    """What the address of a view asks for, and the job that answers it."""

    own: str | None
    other: str | None

    @property
    def record(self) -> Mapping[str, Any]:
        """The record of the evaluation.

        Raises:
            RefusedError: the job is not done, or not kept any more.
        """
        found: Sequence[Mapping[str, Any]] | None = self.job.result
        if not found:
            raise RefusedError(Code.NOT_FOUND, "this evaluation is not kept any more; evaluate again")
        return found[0]


def _show(request: Request, asked: _Asked) -> dict[str, Any]:
    """Returns the values of an evaluation's parts."""
    record = asked.record
    shown = read_evaluation(record)
    columns = shown_classes(shown.confusion)
    links = _linking(request)
    kept = {(each["class"], each["neighbour_class"]) for each in record["confused"]}

    def address(cell: Cell) -> str:
        own, other = shown.names[cell.own], shown.names[cell.other]
        if cell.is_right:
            return str(links["of_class"](own))
        if (own, other) not in kept:
            return ""
        return address_of("/evaluation/confused", request, asked.options, **{"class": own, "as": other})

    return {
        "shown": shown,
        "figures": FIGURES,
        "meanings": MEANINGS,
        "sort_classes": sort_worst_first,
        "columns": [shown.names[column] for column in columns],
        "rows": list(confusion_rows(shown, columns)),
        "cell_address": address,
        "wrong": record["wrong"]["queries"][:MOST_WRONG],
        "wrong_count": record["wrong"]["total"],
        "rule": RULE,
        **links,
    }


def _linking(request: Request) -> dict[str, Any]:
    """Returns the functions by which templates lead to images: their frames, their queries, their classes."""

    def frame(image: Mapping[str, Any]) -> Frame:
        return Frame(src=thumbnail_address(request, image["id"], _EDGE))

    def query(image: Mapping[str, Any]) -> str:
        return query_address(request, image["id"])

    return {"frame": frame, "query": query, "of_class": partial(class_address, request)}
