"""The views `/duplicates`: groups of the same image, marked to keep or to drop; nothing is deleted.

A job finds the groups. The marks are the browser's alone: it sends them for the list of files.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lookalike_search.analysis.duplicate_json import DuplicateGroup, Member
from lookalike_search.analysis.duplicates import SIMILAR_ABOVE
from lookalike_search.analysis.file_state import FileState
from lookalike_search.reports.duplicates import show_duplicates, sort_groups
from lookalike_search.reports.thumbnail_gallery import Frame
from lookalike_search.serving.bodies import read_form_texts
from lookalike_search.serving.indexed_images import MOST_EDGE
from lookalike_search.serving.jobs import JobKind
from lookalike_search.serving.pages.job_options import (
    Choices,
    Option,
    address_of,
    read_options,
    thumbnail_address,
)
from lookalike_search.serving.pages.job_view import AskedJob, ask_job, job_routes
from lookalike_search.serving.pages.marked_files import ListForm, Mark, default_mark, marked_files, write_list
from lookalike_search.serving.pages.marks import read_marks
from lookalike_search.serving.pages.paging import MOST_PAGES, Paging
from lookalike_search.serving.pages.site import Site
from lookalike_search.serving.problems import Code, RefusedError
from lookalike_search.serving.query_fields import Fields
from lookalike_search.serving.responses import attachment_response

GROUPS_PER_PAGE = 50

_EDGE = 320


def routes(site: Site) -> list[Route]:
    """Returns the addresses of this view."""
    view = _Duplicates(site=site)
    return [
        *job_routes(site, "/duplicates", JobKind.DUPLICATES, read=view.read, render=view.render),
        Route("/duplicates/pair", site.answering(view.show_pair)),
        Route("/duplicates/files", site.answering(view.list_files), methods=["POST"]),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Duplicates:
    """Answers the addresses of this view."""

    site: Site

    def render(self, request: Request, asked: "_Asked", choices: Choices) -> Response:
        """Returns the page of the groups, or how far the job is that finds them, or how to find them."""

        def address(page: int) -> str:
            return address_of("/duplicates", request, asked.options, page=page)

        shown: dict[str, Any] = {"paging": None}
        if asked.job.done is not None:
            shown = {
                **asked.show(),
                "paging": Paging.of(len(asked.groups), GROUPS_PER_PAGE, asked.page, address),
                "frame": _framing(request, _EDGE),
                "default_mark": default_mark,
                "files": address_of("/duplicates/files", request, asked.options),
                "pair": address_of("/duplicates/pair", request, asked.options, id=""),
            }
        return self.site.render(
            request,
            "duplicates.html",
            **asked.shown_form(request, "/duplicates", choices),
            default_above=SIMILAR_ABOVE,
            **shown,
        )

    async def show_pair(self, request: Request) -> Response:
        """Shows the first image of a group and another one of it side by side, as large as thumbnails are."""
        asked = await self.read(request)
        return await asyncio.to_thread(self._render_pair, request, asked)

    def _render_pair(self, request: Request, asked: "_Asked") -> Response:
        pairs = [
            (number, group, other)
            for number, group in enumerate(sort_groups(asked.groups), start=1)
            for other in group["others"]
        ]
        at = next((at for at, (*_, other) in enumerate(pairs) if other["id"] == asked.id), None)
        if at is None:
            raise RefusedError(Code.NOT_FOUND, "no duplicates with this image are there; look for them again")
        number, group, other = pairs[at]
        page = 1 + (number - 1) // GROUPS_PER_PAGE

        def address(place: int) -> str:
            return address_of("/duplicates/pair", request, asked.options, id=pairs[place][2]["id"])

        return self.site.render(
            request,
            "duplicate_pair.html",
            view="duplicates",
            **asked.show(),
            job=asked.job,
            number=number,
            group=group,
            other=other,
            place=at + 1,
            count=len(pairs),
            before=address(at - 1) if at else None,
            after=address(at + 1) if at + 1 < len(pairs) else None,
            back=f"{address_of('/duplicates', request, asked.options, page=page)}#g{number}",
            files=address_of("/duplicates/files", request, asked.options),
            frame=_framing(request, MOST_EDGE),
            default_mark=default_mark,
        )

    async def list_files(self, request: Request) -> Response:
        """Returns the list of the files that are to be deleted, by the marks of a form."""
        asked = await self.read(request)
        sent = await read_form_texts(request, self.site.service.limits)
        fields = Fields(sent, is_text=True)
        form = fields.choice("as", ListForm) or ListForm.LINES
        marks = read_marks(fields, sent, Mark)
        fields.require_all_read()
        text = await asyncio.to_thread(lambda: write_list(marked_files(asked.groups, marks), form))
        return attachment_response(text, name="delete.txt", media_type="text/plain")

    async def read(self, request: Request) -> "_Asked":
        """Reads the address of any of these views.

        Raises:
            UsageError: a field is unknown or out of range.
            CollectionMissingError: the collection does not exist, or is not served.
        """
        collection = await self.site.choose_collection(request)
        fields = read_options(request)
        options: dict[str, Option] = {
            "above": fields.optional_number("above", low=0, high=1),
            "dataset": fields.text("dataset"),
        }
        page, id_ = fields.whole("page", 1, low=1, high=MOST_PAGES), fields.text("id")
        fields.require_all_read()
        asked = await ask_job(self.site, JobKind.DUPLICATES, collection, options)
        return _Asked(**asked, page=page, id=id_)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked(AskedJob):
    """What the address of a view asks for, and the job that answers it."""

    page: int
    id: str | None

    @property
    def groups(self) -> Sequence[DuplicateGroup]:
        """The groups that were found.

        Raises:
            RefusedError: the job is not done, or not kept any more.
        """
        found: Sequence[Any] | None = self.job.result
        if found is None:
            raise RefusedError(Code.NOT_FOUND, "these duplicates are not kept any more; look for them again")
        return found

    def show(self) -> dict[str, Any]:
        """Returns the values of `duplicate_groups.html`."""
        above = self.options["above"]
        above = above if isinstance(above, float) else SIMILAR_ABOVE
        return show_duplicates(self.groups, collection=self.collection, above=above)


def _framing(request: Request, edge: int) -> Any:  # noqa: ANN401 - a function of a template
    """Returns a function that returns the frame of an image, a thumbnail of this edge at its address."""

    def frame(member: Member) -> Frame:
        if member["state"] != FileState.PRESENT:  # the thumbnail of other bytes would mislead
            return Frame(note="file is gone" if member["state"] == FileState.GONE else "file has changed")
        return Frame(src=thumbnail_address(request, member["id"], edge))

    return frame
