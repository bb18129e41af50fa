"""Checks that an engine can be used for an ingest, and opens it."""

from collections.abc import Sequence
from contextlib import ExitStack

from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.settings import Settings
from lookalike_core.stores.protocol import Store
from lookalike_exporter.model_cache import ModelFile

from lookalike_ingest.engines.engine import Engine
from lookalike_ingest.engines.ray_cluster import check_address, require_ray
from lookalike_ingest.request import IngestRequest


def check_engine(request: IngestRequest, store: Store) -> None:
    """Refuses an engine that cannot be used, before anything is done.

    Raises:
        UsageError: it is not installed, its address is malformed, or the store is not on a server.
        LookalikeError: no cluster answers at its address.
    """
    if request.engine is None:
        return
    if store.connection is None:
        raise UsageError(
            "its workers write to the store at once, which only a Qdrant server allows",
            argument=Argument.ENGINE,
            hint=Hint(Action.USE, {Argument.STORE: "http://HOST:6333"}),
        )
    require_ray()
    if not request.dry_run:
        check_address(request.engine.address)


def open_engine(
    request: IngestRequest, models: Sequence[ModelFile], store: Store, settings: Settings, stack: ExitStack
) -> Engine | None:
    """Returns the request's engine, which is closed with the stack; None for this process and for a dry run.

    Its cluster is reached, or started, only once there is something to read.
    """
    if request.engine is None or request.dry_run or store.connection is None:
        return None
    from lookalike_ingest.engines.ray_engine import RayEngine

    engine = RayEngine(
        request.engine.address,
        models=models,
        settings=settings,
        connection=store.connection,
        batch_size=request.batch_size,
        max_pixels=request.max_pixels,
    )
    stack.callback(engine.close)
    return engine
