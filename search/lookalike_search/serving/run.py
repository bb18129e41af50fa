"""Puts a server together: collections and models first, then what answers by them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from lookalike_core.settings import Settings
from lookalike_core.stores.protocol import Store

from lookalike_search.asking.searched_collection import SearchedCollection
from lookalike_search.serving.access import Access
from lookalike_search.serving.app import create_app
from lookalike_search.serving.jobs import JobCommand, Jobs
from lookalike_search.serving.limits import LIMITS, ServingLimits
from lookalike_search.serving.metrics import Metrics
from lookalike_search.serving.server import HttpServer
from lookalike_search.serving.service import Service
from lookalike_search.serving.thumbnail_cache import ThumbnailCache
from lookalike_search.serving.warm_collections import WarmCollections


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """How to serve: to whom, within which limits, and whether files of images are sent.

    `job_command` returns what does a job, for the name of the default collection.
    """

    access: Access
    settings: Settings
    job_command: Callable[[str], JobCommand]
    limits: ServingLimits = LIMITS
    serves_originals: bool = False


@contextmanager
def open_serving(
    serving: Serving, store: Store, names: Sequence[str]
) -> Iterator[tuple[HttpServer, Sequence[SearchedCollection]]]:
    """Yields a server and the collections that it has open, with their models loaded; closes them in the end.

    Raises:
        LookalikeError: a collection or its model cannot be opened.
    """
    warm = WarmCollections(store, settings=serving.settings, names=names)
    metrics = Metrics()
    service = Service(
        warm,
        limits=serving.limits,
        metrics=metrics,
        thumbnails=ThumbnailCache(
            serving.settings.home / "thumbnails", most_bytes=serving.limits.thumbnail_bytes
        ),
        shows_files=serving.access.is_local,
    )
    try:
        networks = service.warm_up()
        jobs = Jobs(
            serving.job_command(warm.default),
            shows_files=serving.access.is_local,
            on_end=lambda job: metrics.jobs.labels(job.kind, job.state).observe(job.took_ms / 1000),
            version_of=lambda name: warm.stored_version(name or warm.default),
        )
        app = create_app(service, jobs, serving.access, serves_originals=serving.serves_originals)
        yield HttpServer(app, service, jobs), networks
    finally:
        service.close()
