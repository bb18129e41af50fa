"""Files of an embedded collection that are mapped ahead of further searches."""

import platform
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lookalike_core.arrays import FloatVector
from lookalike_core.stores import edge_shard, mapped_files
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance, VectorQuantization
from lookalike_core.stores.edge_engine import EngineTuning
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.embedded_collection import EmbeddedCollection
from lookalike_core.stores.mapped_files import SEVERAL, MappingAhead
from lookalike_core.stores.points import ImagePoint

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or tuple(map(int, re.findall(r"\d+", platform.release())[:2])) < (5, 14),
    reason="needs Linux 5.14 or newer",
)

POINTS, DIMENSION = 5_000, 64


@pytest.fixture(params=[VectorQuantization.NONE, VectorQuantization.INT8, VectorQuantization.INT4])
def collection(
    tmp_path: Path,
    manifest_of: Callable[..., CollectionManifest],
    point_of: Callable[..., ImagePoint],
    random_vectors: Callable[[int, int], list[FloatVector]],
    request: pytest.FixtureRequest,
) -> Iterator[EmbeddedCollection]:
    """Yields a collection with a graph, opened again."""
    store = EmbeddedStore(tmp_path, tuning=EngineTuning(indexed_above_kb=100))
    manifest = replace(manifest_of(Distance.COSINE, DIMENSION), vector_quantization=request.param)
    store.create(manifest)
    with store.open(manifest.collection) as filled:
        vectors = random_vectors(POINTS, DIMENSION)
        filled.upsert([point_of(f"{number}.jpg", vector) for number, vector in enumerate(vectors)])
        filled.upkeep.build_index(lambda: None)
    with store.open(manifest.collection) as opened:
        opened.load()
        yield opened


def mapped_shares(folder: Path) -> dict[str, float]:
    """Returns how much of each file below a folder this process has mapped, from 0 to 1, by name."""
    shares: dict[str, float] = {}
    name = None
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            *_, place = line.split(maxsplit=5)
            name = Path(place).name if place.startswith(f"{folder}/") else None
        elif name and line.startswith(("Size:", "Rss:")):
            kind, kilobytes, _ = line.split()
            shares[name] = int(kilobytes) if kind == "Size:" else int(kilobytes) / shares[name]
    return shares


class Recorded(MappingAhead):
    """Knows whether it was stopped."""

    is_stopped = False

    def stop(self) -> None:
        """Stops, and takes note of it."""
        super().stop()
        self.is_stopped = True


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Recorded]:
    """Returns the list of what collections have mapped from now on."""
    found: list[Recorded] = []

    def start(shard: Path) -> MappingAhead:
        found.append(Recorded(shard))
        return found[-1]

    monkeypatch.setattr(edge_shard, "MappingAhead", start)
    return found


def test_what_searches_read_is_mapped_after_several(
    collection: EmbeddedCollection,
    started: list[Recorded],
    tmp_path: Path,
    random_vectors: Callable[[int, int], list[FloatVector]],
) -> None:
    """Opening a collection maps no vectors; of quantized ones, the whole ones stay out later, too."""
    is_whole = collection.manifest.vector_quantization is VectorQuantization.NONE
    searched = ["matrix.dat" if is_whole else "quantized.data", "links_compressed.bin"]
    before = mapped_shares(tmp_path)
    assert before["matrix.dat"] == before[searched[0]] == 0
    [vector] = random_vectors(1, DIMENSION)
    for _ in range(SEVERAL - 1):
        collection.query(vector, limit=10)
    assert started == []
    collection.query(vector, limit=10)
    [mapping] = started
    mapping.wait(60)
    after = mapped_shares(tmp_path)
    assert [after[name] for name in searched] == [1, 1]
    assert is_whole or after["matrix.dat"] < 1
    collection.query(vector, limit=10)
    assert len(started) == 1


def test_many_queries_at_once_count_as_many(
    collection: EmbeddedCollection,
    started: list[Recorded],
    random_vectors: Callable[[int, int], list[FloatVector]],
) -> None:
    """A closed shard stops it, and begins anew when it is loaded the next time."""
    vectors = np.stack(random_vectors(SEVERAL, DIMENSION))
    for times in (1, 2):
        collection.query_many(vectors, limit=3)
        assert [each.is_stopped for each in started] == [True] * (times - 1) + [False]
        collection.flush()
    assert [each.is_stopped for each in started] == [True, True]


def test_nothing_is_mapped_that_does_not_fit_into_memory(
    collection: EmbeddedCollection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages would be read, and dropped again before they are used."""
    monkeypatch.setattr(mapped_files, "available_memory", lambda: POINTS)
    [shard] = tmp_path.glob("*/shard")
    MappingAhead(shard).wait(60)
    assert mapped_shares(tmp_path)["matrix.dat"] == 0
    assert collection.count() == POINTS
