"""The view `/map`: the images of a collection in two dimensions, placed by a job."""

import asyncio
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lookalike_search.analysis.collection_map import MOST
from lookalike_search.reports.map import DISTINCT, WIDTH
from lookalike_search.serving.bodies import address_fields
from lookalike_search.serving.jobs import JobKind, JobState
from lookalike_search.serving.pages.job_options import Choices, Option, read_options
from lookalike_search.serving.pages.job_view import AskedJob, ask_job, job_routes
from lookalike_search.serving.pages.map_points import draw_map
from lookalike_search.serving.pages.site import Site
from lookalike_search.serving.problems import Code, RefusedError

LIMITS = (500, 1_000, 2_000, 5_000, 10_000)
"""The numbers of images that a map can be asked for; a job may have others."""

DEFAULT_LIMIT = 2_000
"""The most images of a map whose address names no limit, as of `search map`."""


def routes(site: Site) -> list[Route]:
    """Returns the addresses of this view."""
    view = _Map(site=site)
    return [
        *job_routes(site, "/map", JobKind.MAP, read=view.read, render=view.render),
        Route("/map/points", site.answering(view.points)),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Map:
    """Answers the addresses of this view."""

    site: Site

    def render(self, request: Request, asked: AskedJob, choices: Choices) -> Response:
        """Returns the map of a collection, or how far it is, or how to make it."""
        done = asked.job.done
        return self.site.render(
            request,
            "map.html",
            **asked.shown_form(request, "/map", choices),
            drawn=None if done is None else draw_map(done),
            limits=LIMITS,
            default_limit=DEFAULT_LIMIT,
            width=WIDTH,
            distinct=DISTINCT,
        )

    async def points(self, request: Request) -> Response:
        """Returns the points of a finished map, see `map_points`."""
        fields = address_fields(request.query_params)
        job = self.site.jobs.get(fields.text("job") or "")
        fields.require_all_read()
        if job.kind is not JobKind.MAP or job.state is not JobState.DONE:
            raise RefusedError(Code.NOT_FOUND, "this job has made no map")
        drawn = await asyncio.to_thread(draw_map, job)
        return Response(drawn.points, media_type="application/octet-stream")

    async def read(self, request: Request) -> AskedJob:
        """Reads the address of the view.

        Raises:
            UsageError: a field is unknown or out of range.
            CollectionMissingError: the collection does not exist, or is not served.
        """
        collection = await self.site.choose_collection(request)
        fields = read_options(request)
        limit = fields.whole("limit", DEFAULT_LIMIT, low=1, high=MOST)
        options: dict[str, Option] = {
            "dataset": fields.text("dataset"),
            "limit": None if limit == DEFAULT_LIMIT else limit,
            "seed": fields.text("seed"),
        }
        fields.require_all_read()
        return AskedJob(**await ask_job(self.site, JobKind.MAP, collection, options))
