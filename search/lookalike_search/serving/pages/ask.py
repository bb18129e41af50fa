"""The view `/`: asks with an image, and shows what is like it.

The address holds the question. What does not fit the collections or examples is left out, and said.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from http import HTTPStatus

from lookalike_core.errors import LookalikeError, UsageError
from lookalike_core.hints import Action
from lookalike_core.neighbours.rank_fusion import FusionRule
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from lookalike_search.analysis.explanation import SeenImage
from lookalike_search.asking.ranking import MAX_OFFSET
from lookalike_search.reports.answer_view import AnswerView
from lookalike_search.reports.explanation import explained_section
from lookalike_search.serving.bodies import address_fields, check_examples, read_image
from lookalike_search.serving.indexed_images import MOST_EDGE, find_shown_type
from lookalike_search.serving.pages.ask_links import AskedImage, AskLinks, Choices
from lookalike_search.serving.pages.question import FILTERS, KEPT, NARROWING, Question
from lookalike_search.serving.pages.site import Site, pass_headers
from lookalike_search.serving.problems import Code, Problem, RefusedError
from lookalike_search.serving.query_fields import (
    UPLOAD_PREFIX,
    ExplanationRequest,
    QueryRequest,
    UploadId,
    read_query,
)
from lookalike_search.serving.records import ServedCollections
from lookalike_search.serving.responses import error_response, problem_response
from lookalike_search.serving.service import Found, ImageAddress

CHANCES = (0.5, 0.8, 0.9, 0.95)
"""Floors of the chance of neighbours to choose from."""

CONFIDENCES = (0.8, 0.9, 0.95, 0.99)
"""Levels of confidence to choose from."""

FUSIONS = {
    FusionRule.RRF: "ranks",
    FusionRule.ZSCORE: "standardized scores",
    FusionRule.CALIBRATED: "calibrated chances",
}
"""Rules of fusion, and what each adds up."""

MOST_SHOWN = 100
"""Neighbours on a page; the API has more at a time."""

SAMPLES = 24
"""Indexed images that are shown where nothing is asked yet."""


def routes(site: Site) -> list[Route]:
    """Returns the addresses of this view."""
    view = _Ask(site=site)
    return [
        Route("/", site.answering(view.serve), methods=["GET", "POST"]),
        Route("/originals/{id:str}", site.answering(view.original)),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOutField:
    """Why a field of a question was left out, and whether another ingest adds what it needs."""

    reason: str
    is_added_by_ingest: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Outcome:
    """What came of a question: an answer, or why there is none; and what was left out of it."""

    question: Question
    found: Found | None = None
    problem: Problem | None = None
    left_out: Sequence[LeftOutField] = ()
    explained: Sequence[dict[str, object]] = ()
    unexplained: Sequence[Problem] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ask:
    """Answers the addresses of this view."""

    site: Site

    async def serve(self, request: Request) -> Response:
        """Shows the view, or takes an upload and leads to its answer."""
        if request.method == "POST":
            return await self._take_upload(request)
        return await self._show(request)

    async def _take_upload(self, request: Request) -> Response:
        question = Question.of(request.query_params).keeping(KEPT)
        try:
            image = await read_image(request, self.site.service.limits)
            if not image.content:
                raise UsageError("no image was chosen; choose a file first", argument="image")
            added = await self.site.service.add_upload(image)
        except (LookalikeError, RefusedError) as error:
            return await self._render(request, _Outcome(question=question, problem=self._describe(error)))
        address = question.asking("upload", added["upload"]).address
        return RedirectResponse(address, status_code=HTTPStatus.SEE_OTHER)

    async def _show(self, request: Request) -> Response:
        question = Question.of(request.query_params)
        if not question.is_asked:
            return await self._render(request, _Outcome(question=question))
        return await self._render(request, await self._ask(question))

    async def _ask(self, question: Question) -> _Outcome:
        """Returns the outcome of a question, from which what does not fit is left out."""
        left_out: list[LeftOutField] = []
        while True:
            try:
                query = read_query(question.to_fields(), pixels=self.site.service.limits.pixels)
                check_examples(query, self.site.service.limits)
                _check_cost(query)
                found = await self.site.service.find(query)
            except (LookalikeError, RefusedError) as error:
                argument = str(error.argument) if isinstance(error, UsageError) else ""
                argument = _FIELDS.get(argument, argument)
                if argument not in NARROWING or not question.value(argument):
                    problem = self._describe(error)
                    return _Outcome(question=question, problem=problem, left_out=left_out)
                question = question.leaving(argument)
                left_out.append(
                    LeftOutField(
                        reason=self._describe(error)["detail"],
                        is_added_by_ingest=_is_added_by_ingest(error),
                    )
                )
                continue
            explained, unexplained = await self._explain(question, found)
            return _Outcome(
                question=question,
                found=found,
                left_out=left_out,
                explained=explained,
                unexplained=unexplained,
            )

    async def _explain(
        self, question: Question, found: Found
    ) -> tuple[list[dict[str, object]], list[Problem]]:
        """Returns the explanations by each network, and why others have none."""
        neighbour = question.value("explain")
        if not neighbour:
            return [], []
        requests = [
            ExplanationRequest(
                image=_example(question),
                neighbour=neighbour,
                collection=manifest.name or manifest.collection,
                region=found.options.region,
            )
            for manifest in found.manifests
        ]
        names = await self._names(question, ("id", "explain"), question.values("collection"))
        service = self.site.service
        outcomes = await asyncio.gather(*map(service.explain_shown, requests), return_exceptions=True)
        sections, problems = [], []
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                if not isinstance(outcome, LookalikeError | RefusedError):
                    raise outcome
                problems.append(self._describe(outcome))
            else:
                explained, images = outcome
                sections.append(explained_section(explained, [_renamed(each, names) for each in images]))
        return sections, problems

    async def _render(self, request: Request, outcome: _Outcome) -> Response:
        served = await self.site.service.overview()
        question, problem = outcome.question, outcome.problem
        names = question.values("collection") or [served["default"]]
        found, links = outcome.found, AskLinks(question=question, names=names)
        page = await asyncio.to_thread(
            self.site.render,
            request,
            "ask.html",
            view="ask",
            status=problem["status"] if problem else HTTPStatus.OK,
            question=question,
            kept=question.keeping(KEPT),
            links=links,
            chips=links.chips(await self._names(question, ("and", "not"), names)),
            choices=Choices.of(served, names, question),
            chances=CHANCES,
            confidences=CONFIDENCES,
            filter_fields=tuple(FILTERS),
            fusions=FUSIONS,
            most_offset=MAX_OFFSET,
            image=None if found is None else self._asked_image(question, found, names),
            found=found,
            answer=None if found is None else found.answer,
            answer_view=None
            if found is None
            else AnswerView(manifests=found.manifests, options=found.options),
            problem=problem,
            is_forgotten=problem is not None and problem["code"] is Code.UPLOAD,
            left_out_fields=outcome.left_out,
            explained=outcome.explained,
            unexplained=outcome.unexplained,
            samples=await self._samples(names, served) if _needs_another(question, problem) else [],
            serves_originals=self.site.serves_originals,
            large=None if found is None else self._large(question, found, names),
        )
        if problem is not None:
            pass_headers(problem_response(problem), page)
        return page

    async def original(self, request: Request) -> Response:
        """Shows the file of an indexed image, or its largest thumbnail where browsers cannot show the file.

        Its type is that of an image whatever is in it, so that a browser runs nothing of it.
        """
        if not self.site.serves_originals:
            raise RefusedError(Code.NOT_FOUND, "originals are not served here")
        fields = address_fields(request.query_params)
        address = ImageAddress(request.path_params["id"], fields.texts("collection"))
        fields.require_all_read()
        data, _ = await self.site.service.original(address)
        media_type = find_shown_type(data)
        if media_type is None:
            data, media_type, _ = await self.site.service.thumbnail(address, MOST_EDGE)
        return Response(data, media_type=media_type, headers=_ORIGINAL_HEADERS)

    def _large(self, question: Question, found: Found, names: Sequence[str]) -> AskedImage | None:
        """Returns the image that is shown large: the one that is asked with, or a neighbour."""
        id_ = question.value("large")
        links = AskLinks(question=question, names=names)
        if not id_ or not self.site.serves_originals:
            return None
        if found.answer.indexed is not None and found.answer.indexed.id == id_:
            return AskedImage.of_indexed(found.answer.indexed, names)
        return next((links.image(hit) for hit in found.answer.hits if hit.payload.id == id_), None)

    async def _names(
        self, question: Question, fields: Sequence[str], collections: Sequence[str]
    ) -> dict[str, str]:
        """Returns the names of images that are known, by what stands in these fields of the address."""
        names = {}
        for _, value in question.keeping(fields).pairs[: self.site.service.limits.examples]:
            with suppress(LookalikeError, RefusedError):
                if value.startswith(UPLOAD_PREFIX):
                    names[value] = self.site.service.upload(value.removeprefix(UPLOAD_PREFIX))["name"]
                else:
                    names[value] = (await self.site.service.image(value, collections))["path"]
        return names

    async def _samples(self, names: Sequence[str], served: ServedCollections) -> Sequence[AskedImage]:
        """Returns some indexed images to begin with."""
        classes = next((each["classes"] for each in served["collections"] if each["name"] == names[0]), None)
        if not classes:
            return []
        payloads = await self.site.service.samples(names[:1], SAMPLES)
        return [AskedImage.of_indexed(payload, names[:1]) for payload in payloads]

    def _asked_image(self, question: Question, found: Found, names: Sequence[str]) -> AskedImage:
        if found.answer.indexed is not None:
            return AskedImage.of_indexed(found.answer.indexed, names)
        return AskedImage.of_upload(self.site.service.upload(_upload_id(question)))

    def _describe(self, error: Exception) -> Problem:
        _, problem = error_response(error, shows_paths=self.site.access.is_local)
        self.site.service.metrics.rejected.labels(problem["code"]).inc()
        return problem


_FIELDS = {name: field for field, name in FILTERS.items()}
"""The fields of filters by what they are in a query."""

_ORIGINAL_HEADERS = {
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Content-Disposition": "inline",
    "Cache-Control": "private, max-age=86400",
}


def _is_added_by_ingest(error: Exception) -> bool:
    """Returns whether images of an older version lack what a filter needs, and another ingest adds it."""
    hint = getattr(error, "hint", None)
    return hint is not None and hint.action is Action.INGEST_AGAIN


def _renamed(image: SeenImage, names: Mapping[str, str]) -> SeenImage:
    return replace(image, name=names.get(image.name, image.name))


def _check_cost(query: QueryRequest) -> None:
    """Refuses what a page does not offer and takes long: a link on another site may lead here.

    Raises:
        UsageError: the question asks for it.
    """
    if query.options.limit > MOST_SHOWN:
        said = f"a page shows at most {MOST_SHOWN} neighbours; lower the limit, and take the next page"
        raise UsageError(said, argument="limit")
    if query.options.locate:
        raise UsageError("locate is for the API alone; explain a neighbour instead", argument="locate")


def _needs_another(question: Question, problem: Problem | None) -> bool:
    """Returns whether there is no image to search with: none was named, or it is not there."""
    return not question.is_asked or (problem is not None and problem["status"] == HTTPStatus.NOT_FOUND)


def _upload_id(question: Question) -> str:
    return question.value("upload").removeprefix(UPLOAD_PREFIX)


def _example(question: Question) -> UploadId | str:
    """Returns the image of a question that was answered."""
    if question.value("upload"):
        return UploadId(id=_upload_id(question))
    return question.value("id") or question.value("path")
