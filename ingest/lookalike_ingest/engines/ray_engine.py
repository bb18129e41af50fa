"""Reads, embeds and writes on a Ray cluster, by Ray Data and its tasks; implements `Engine`.

Ray starts lost workers again and repeats what they had in hand; its work is idempotent.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

from lookalike_core.batched import batched
from lookalike_core.errors import LookalikeError, ProviderError
from lookalike_core.hints import Action, Hint
from lookalike_core.images.scan import FoundFile
from lookalike_core.logs import get_logger
from lookalike_core.models.providers import CPU, CUDA
from lookalike_core.settings import ProviderChoice, Settings
from lookalike_core.stores.address import ServerConnection
from lookalike_core.stores.points import ImagePoint
from lookalike_core.text import format_count
from lookalike_exporter.model_cache import ModelFile

from lookalike_ingest.embedders import default_batch_size
from lookalike_ingest.engines import ray_tasks
from lookalike_ingest.engines.engine import FileToEmbed
from lookalike_ingest.engines.ray_cluster import connected
from lookalike_ingest.image_reader import ReadFile

CORES_PER_WORKER = 4
"""Cores of a worker that embeds on a CPU, unless `threads` are given or a node has fewer."""

BATCHES_AT_ONCE = 4
"""How many batches a worker is given at a time: what its death costs."""

HASHED_AT_ONCE = 256
NO_PROGRESS_S = 600
"""After this time without a result, the cluster counts as lost; in seconds."""

WRITERS = 4
"""How many workers write; they wait for the server, and take no core."""

_WRITE_RETRIES = 10
_UNLIMITED = -1

_logger = get_logger("ingest")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pool:
    """The workers that embed: how many, and the GPUs and cores of each."""

    workers: int
    gpus: int
    cores: int


class RayEngine:
    """A cluster that is reached when it is first needed; see `Engine`."""

    worker = ray_tasks.Embedding
    """The class of the workers that embed."""

    def __init__(
        self,
        address: str | None,
        *,
        models: Sequence[ModelFile],
        settings: Settings,
        connection: ServerConnection,
        batch_size: int | None,
        max_pixels: int,
    ) -> None:
        self._address, self._models, self._settings = address, models, settings
        self._connection, self._batch_size, self._max_pixels = connection, batch_size, max_pixels
        self._stack = ExitStack()
        self._is_connected = False
        self._sent: list[ray_tasks.SentModel] = []
        self._writers: list[Any] = []
        self._turns = count()

    def hash_files(self, files: Sequence[FoundFile]) -> Iterator[str | None]:
        """Yields hashes, by tasks of one core each."""
        yield from self._map(files, HASHED_AT_ONCE, ray_tasks.hash_row, {"num_cpus": 1})

    def embed_files(self, files: Sequence[FileToEmbed]) -> Iterator[ReadFile]:
        """Yields files that workers of one GPU, or of a few cores, have read and embedded."""
        import ray

        self._connect()
        pool = choose_pool(ray.nodes(), self._settings)
        at_once = BATCHES_AT_ONCE * (self._batch_size or default_batch_size(CUDA if pool.gpus else CPU))
        workers = min(pool.workers, -(-len(files) // at_once))
        _logger.info("embedding on Ray with %s", format_count(workers, "worker"))
        options = ray_tasks.EmbeddingOptions(
            provider=self._settings.provider,
            threads=pool.cores,
            max_pixels=self._max_pixels,
            batch_size=self._batch_size,
        )
        placed = {
            # Not of a fixed size: one that is larger than what is left of its cluster gets no more work.
            "compute": ray.data.ActorPoolStrategy(min_size=1, max_size=workers, initial_size=workers),
            "num_cpus": pool.cores,
            "num_gpus": pool.gpus or None,
            "fn_constructor_args": (self._send_models(), options, ray.get),
        }
        yield from self._map(files, at_once, self.worker, placed)

    def upsert(self, collection: str, points: Sequence[ImagePoint]) -> Callable[[], None]:
        """Has one of the workers that write do so, in turn."""
        import ray

        self._connect()
        with _translate_errors():
            under_way = self._choose_writer().write.remote(collection, list(points))

        def wait() -> None:
            with _translate_errors():
                problem = ray.get(under_way)
            if problem is not None:
                raise problem

        return wait

    def close(self) -> None:
        """Leaves the cluster, and ends one that was started here."""
        self._sent, self._writers = [], []
        self._stack.close()

    def _connect(self) -> None:
        if not self._is_connected:
            self._stack.enter_context(connected(self._address))
            self._is_connected = True

    def _map(
        self,
        items: Sequence[Any],
        at_once: int,
        function: Any,  # noqa: ANN401 - as Ray takes it
        placed: Mapping[str, Any],
    ) -> Iterator[Any]:
        """Yields what a function makes of the items, in order, so many of them in a row."""
        import ray

        self._connect()
        rows = [ray_tasks.pack(some) for some in batched(items, at_once)]
        with _translate_errors():
            with ray.data.DataContext.current(_make_context()):
                dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map(function, **placed)
            done = iter(dataset.iter_rows())
        while True:
            with _translate_errors():
                row = next(done, None)
            if row is None:
                return
            yield from ray_tasks.unpack(row)

    def _send_models(self) -> list[ray_tasks.SentModel]:
        """Puts the models into the cluster's memory, once."""
        import ray

        if not self._sent:
            self._sent = [
                ray_tasks.SentModel(
                    path=model.path, manifest=model.manifest, content=ray.put(model.path.read_bytes())
                )
                for model in {model.path: model for model in self._models}.values()
            ]
        return self._sent

    def _choose_writer(self) -> Any:  # noqa: ANN401 - Ray's actors have no types
        """Returns the next worker that writes: on this node, if the server's address is valid only here."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        turn = next(self._turns) % WRITERS
        if turn == len(self._writers):
            here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
            writer = ray.remote(ray_tasks.Writer).options(
                num_cpus=0,
                max_restarts=_UNLIMITED,
                max_task_retries=_WRITE_RETRIES,
                scheduling_strategy=here if self._connection.is_loopback else "SPREAD",
            )
            self._writers.append(writer.remote(self._connection))
        return self._writers[turn]


def choose_pool(nodes: Sequence[Mapping[str, Any]], settings: Settings) -> _Pool:
    """Returns a worker for each GPU if there are any and they may be used, else for every few cores.

    Raises:
        ProviderError: a GPU is required, and there is none.
        LookalikeError: no node has a core.
    """
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    wants_gpu = settings.provider in (ProviderChoice.AUTO, ProviderChoice.CUDA)
    with_gpu = [each for each in alive if each.get("GPU", 0) >= 1 and wants_gpu]
    if with_gpu:
        cores = min(int(each.get("CPU", 0)) // int(each["GPU"]) for each in with_gpu)
        workers = sum(int(each["GPU"]) for each in with_gpu)
        return _Pool(workers=workers, gpus=1, cores=min(settings.threads or cores, cores) or 1)
    if settings.provider is ProviderChoice.CUDA:
        raise ProviderError("a GPU is required, and no node of the Ray cluster has one")
    on_nodes = [int(each.get("CPU", 0)) for each in alive if each.get("CPU", 0) >= 1]
    if not on_nodes:
        raise LookalikeError("no node of the Ray cluster has a core for this; let one join (ray start)")
    wanted = settings.threads or min(CORES_PER_WORKER, *on_nodes)
    workers = sum(each // wanted for each in on_nodes)
    if not workers:
        raise LookalikeError(f"no node of the Ray cluster has the {wanted} cores of {wanted} threads")
    return _Pool(workers=workers, gpus=0, cores=wanted)


def _make_context() -> Any:  # noqa: ANN401
    """Returns Ray Data's settings: results in order, no bars or words of its own, and no lost row."""
    import ray

    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_options.preserve_order = True
    context.max_errored_blocks = 0
    context.execution_no_progress_timeout_s = NO_PROGRESS_S
    return context


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Translates what Ray raises; errors of ours come back as results.

    Raises:
        LookalikeError: the cluster cannot go on.
    """
    try:
        yield
    except (LookalikeError, MemoryError):
        raise
    except Exception as error:
        text = (str(error).strip().splitlines() or [type(error).__name__])[-1][:200]
        raise LookalikeError(
            f"the Ray cluster cannot go on ({type(error).__name__}: {text}); what is written stays",
            hint=Hint(Action.REPEAT),
        ) from error
