"""The views `/audit`: what is probably wrong in a collection; suspects are marked, and nothing is changed.

A job audits. Its record is shown by the macros of the report of `search audit --html`, a kind of findings at
a time. The marks are the browser's alone: it sends them for the table of labels.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from lookalike_core.neighbours.near_duplicates import NEAR_ABOVE
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lookalike_search.analysis.audit import FALSE_DISCOVERIES
from lookalike_search.analysis.audit_json import AuditedImage, CollectionAudit
from lookalike_search.reports.audit import AuditPart, Finding, audit_parts
from lookalike_search.reports.thumbnail_gallery import Frame
from lookalike_search.serving.bodies import read_form_texts
from lookalike_search.serving.jobs import JobKind
from lookalike_search.serving.pages.job_options import (
    Choices,
    Option,
    address_of,
    class_address,
    query_address,
    read_options,
    thumbnail_address,
)
from lookalike_search.serving.pages.job_view import AskedJob, ask_job, job_routes
from lookalike_search.serving.pages.marked_labels import LabelMark, marked_suspects, write_labels
from lookalike_search.serving.pages.marks import read_marks
from lookalike_search.serving.pages.paging import MOST_PAGES, Paging
from lookalike_search.serving.pages.site import Site
from lookalike_search.serving.problems import Code, RefusedError
from lookalike_search.serving.query_fields import Fields
from lookalike_search.serving.responses import attachment_response

LISTED = 5_000
"""Findings of each kind that the page has; the table of `search audit --apply` has more."""

PER_PAGE = 48
"""Findings on a page."""

RATES = (0.01, 0.05, 0.1, 0.2)
"""False discovery rates to choose from."""

_EDGE = 320


def routes(site: Site) -> list[Route]:
    """Returns the addresses of this view."""
    view = _AuditView(site=site)
    return [
        *job_routes(site, "/audit", JobKind.AUDIT, read=view.read, render=view.render),
        Route("/audit/labels", site.answering(view.table_labels), methods=["POST"]),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _AuditView:
    """Answers the addresses of this view."""

    site: Site

    def render(self, request: Request, asked: "_Asked", choices: Choices) -> Response:
        """Returns the page of an audit, or how far its job is, or how to start it."""
        return self.site.render(
            request,
            "audit.html",
            **asked.shown_form(request, "/audit", choices),
            rates=RATES,
            default_rate=FALSE_DISCOVERIES,
            default_near_above=NEAR_ABOVE,
            **{"audit": None} | ({} if asked.job.done is None else _show(request, asked, choices)),
        )

    async def table_labels(self, request: Request) -> Response:
        """Returns the table of the suggested classes of a dataset, by the marks of a form."""
        asked = await self.read(request)
        sent = await read_form_texts(request, self.site.service.limits)
        fields = Fields(sent, is_text=True)
        dataset = fields.text("of")
        marks = read_marks(fields, sent, LabelMark)
        fields.require_all_read()
        suspects = [each for each in asked.record["wrong_labels"] if dataset in (None, each["dataset"])]
        table = await asyncio.to_thread(lambda: write_labels(marked_suspects(suspects, marks)))
        return attachment_response(table, name="labels.csv", media_type="text/csv")

    async def read(self, request: Request) -> "_Asked":
        """Reads the address of any of these views.

        Raises:
            UsageError: a field is unknown or out of range.
            CollectionMissingError: the collection does not exist, or is not served.
        """
        collection = await self.site.choose_collection(request)
        fields = read_options(request)
        rate = fields.share("fdr")
        options: dict[str, Option] = {
            "dataset": fields.text("dataset"),
            "fdr": None if rate == FALSE_DISCOVERIES else rate,
            "near_above": fields.optional_number("near_above", low=0, high=1),
            "files": fields.flag("files"),
        }
        kind, page = fields.choice("kind", Finding), fields.whole("page", 1, low=1, high=MOST_PAGES)
        fields.require_all_read()
        asked = await ask_job(self.site, JobKind.AUDIT, collection, options, limit=LISTED)
        return _Asked(**asked, kind=kind, page=page)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked(AskedJob):
    """What the address of a view asks for, and the job that answers it."""

    kind: Finding | None
    page: int

    @property
    def record(self) -> CollectionAudit:
        """The record of the audit.

        Raises:
            RefusedError: the job is not done, or not kept any more.
        """
        found: Sequence[Any] | None = self.job.result
        if not found:
            raise RefusedError(Code.NOT_FOUND, "this audit is not kept any more; audit again")
        return cast("CollectionAudit", found[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Links:
    """Where the images and classes of a page lead."""

    request: Request

    def image(self, id_: str) -> str:
        return query_address(self.request, id_)

    def class_named(self, name: str) -> str:
        return class_address(self.request, name)


def _show(request: Request, asked: _Asked, choices: Choices) -> dict[str, Any]:
    """Returns the values of an audit's parts."""
    record = asked.record
    parts = audit_parts(record)
    part = _choose(parts, asked.kind)

    def address(kind: Finding, page: int = 1) -> str:
        options = {**asked.options, "kind": str(kind), "page": page if page > 1 else None}
        return address_of("/audit", request, options)

    def frame(image: AuditedImage) -> Frame:
        return Frame(src=thumbnail_address(request, image["id"], _EDGE))

    def example(class_name: str) -> Frame:
        return Frame(src=thumbnail_address(request, choices.examples[class_name], _EDGE))

    return {
        "audit": record,
        "parts": [(each, address(each.kind)) for each in parts],
        "part": part,
        "paging": Paging.of(len(part.findings), PER_PAGE, asked.page, lambda page: address(part.kind, page)),
        "frame": frame,
        "example": example,
        "examples": choices.examples,
        "to": _Links(request=request),
        "suspects": Counter(each["dataset"] for each in record["wrong_labels"]),
        "labels": address_of("/audit/labels", request, asked.options),
    }


def _choose(parts: Sequence[AuditPart], kind: Finding | None) -> AuditPart:
    """Returns the part of a kind, else the first one with findings."""
    named = next((part for part in parts if part.kind is kind), None)
    return named or next((part for part in parts if part.count), parts[0])
