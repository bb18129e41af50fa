"""Stands in for a cluster: the functions that run on its nodes, in this process, one after the other.

Points are written when they are waited for, and not before: nothing may rely on a write under way.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lookalike_core.settings import Settings
from lookalike_core.stores.address import ServerConnection
from lookalike_exporter.model_cache import ModelFile
from lookalike_ingest.engines import ray_tasks


@dataclass
class EngineStandIn:
    """Implements `Engine`; `embedded` are the paths of the files that it was asked to decode."""

    models: Sequence[ModelFile]
    settings: Settings
    connection: ServerConnection
    embedded: list[str] = field(default_factory=list)
    hashed: list[str] = field(default_factory=list)
    most_under_way: int = 0
    is_closed: bool = False
    _under_way: int = 0

    def __post_init__(self) -> None:
        """Loads nothing yet, as on a node."""
        sent = [
            ray_tasks.SentModel(path=each.path, manifest=each.manifest, content=each.path)
            for each in self.models
        ]
        options = ray_tasks.EmbeddingOptions(
            provider=self.settings.provider, threads=1, max_pixels=10**6, batch_size=2
        )
        self._writer = ray_tasks.Writer(self.connection)
        self._embedding = ray_tasks.Embedding(sent, options, Path.read_bytes)

    def hash_files(self, files: Sequence[Any]) -> Iterator[Any]:
        """Hashes three files at a time."""
        self.hashed += [found.path for found in files]
        for start in range(0, len(files), 3):
            yield from ray_tasks.unpack(ray_tasks.hash_row(ray_tasks.pack(files[start : start + 3])))

    def embed_files(self, files: Sequence[Any]) -> Iterator[Any]:
        """Embeds three files at a time."""
        self.embedded += [file.found.path for file in files if file.models]
        for start in range(0, len(files), 3):
            yield from ray_tasks.unpack(self._embedding(ray_tasks.pack(files[start : start + 3])))

    def upsert(self, collection: str, points: Sequence[Any]) -> Callable[[], None]:
        """Writes the points when they are waited for."""
        self._under_way += 1
        self.most_under_way = max(self.most_under_way, self._under_way)

        def wait() -> None:
            self._under_way -= 1
            problem = self._writer.write(collection, points)
            if problem is not None:
                raise problem

        return wait

    def close(self) -> None:
        """Notes that it was closed."""
        self.is_closed = True
