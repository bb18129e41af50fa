"""Measures how much faster two nodes of a Ray cluster embed than one, on work that waits.

    python benchmarks/ray_nodes.py [--images 480] [--wait-ms 100] [--json FILE]

The nodes are on this machine, of one core each, and the network is a stand-in that sleeps for each image, so
that nodes do not take the processor from each other. Everything else is real: files, decoding, Ray, the
driver, and a stand-in for Qdrant over HTTP. The time is
from the first row of each node to the last of all, as they arrive in the driver.
"""

import argparse
import json
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.connection import connect
from lookalike_exporter.spec import ModelSpec
from lookalike_ingest.engines import ray_engine, ray_tasks
from lookalike_ingest.engines.engine import EngineChoice, EngineName, FileToEmbed
from lookalike_ingest.engines.ray_engine import RayEngine
from lookalike_ingest.image_reader import ReadFile
from lookalike_ingest.request import Dataset, IngestRequest, StopRequest
from lookalike_ingest.run import run_ingest
from PIL import Image

SUPPORT = Path(__file__).parents[1] / "tests" / "support"
BATCH_SIZE = 2


class WaitingNetwork:
    """Sleeps for each image, and returns vectors that follow from its pixels."""

    provider = "a network that waits"

    def __init__(self, wait_s: float, dimension: int) -> None:
        self._wait_s, self._dimension = wait_s, dimension

    def embed(self, pixels: np.ndarray) -> np.ndarray:
        """Returns float32 `[N, D]`."""
        time.sleep(self._wait_s * len(pixels))
        seeds = [zlib.crc32(each.tobytes()) for each in pixels]
        return np.stack([np.random.default_rng(seed).normal(size=self._dimension) for seed in seeds]).astype(
            np.float32
        )


class WaitingEmbedding(ray_tasks.Embedding):
    """A worker with such a network."""

    wait_s = 0.1

    def _load(self, model: ray_tasks.SentModel) -> Any:  # noqa: ANN401 - in place of an Embedder
        return WaitingNetwork(self.wait_s, model.manifest.identity.dimension)


class StampedEngine(RayEngine):
    """Notes when images arrive in the driver."""

    worker = WaitingEmbedding
    arrived: ClassVar[list[float]] = []

    def embed_files(self, files: Sequence[FileToEmbed]) -> Iterator[ReadFile]:
        """Yields the images, and notes the time of each."""
        for file in super().embed_files(files):
            self.arrived.append(time.monotonic())
            yield file

    @classmethod
    def images_per_second(cls, nodes: int) -> float:
        """Returns the rate after the first row of each node, which waits for its worker to start."""
        first = nodes * ray_engine.BATCHES_AT_ONCE * BATCH_SIZE
        return (len(cls.arrived) - first) / (cls.arrived[-1] - cls.arrived[first - 1])


def main() -> None:
    """Measures one node and two, and prints both rates and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=480)
    parser.add_argument("--wait-ms", type=float, default=100)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    sys.path.insert(0, str(SUPPORT))
    WaitingEmbedding.wait_s = asked.wait_ms / 1000
    ray_engine.RayEngine = StampedEngine  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder) / "images", asked.images)
        rates = {nodes: measure(Path(folder), nodes) for nodes in (1, 2)}
    found = {
        "images": asked.images,
        "wait_ms": asked.wait_ms,
        "images_per_second": {str(nodes): round(rate, 2) for nodes, rate in rates.items()},
        "speed_up": round(rates[2] / rates[1], 3),
    }
    for nodes, rate in rates.items():
        print(f"{nodes} node{'s' if nodes > 1 else ' '}  {rate:6.2f} images/s")
    print(f"two nodes are {found['speed_up']:.2f} times as fast as one")
    if asked.json:
        asked.json.write_text(json.dumps(found) + "\n")


def draw(folder: Path, images: int) -> None:
    """Draws images of one colour each."""
    folder.mkdir()
    for number in range(images):
        Image.new("RGB", (64, 48), (number % 256, number // 256, 90)).save(folder / f"{number}.png")


def measure(folder: Path, nodes: int) -> float:
    """Returns the images a second of an ingest by so many nodes, into a store of its own."""
    from loopback_cluster import running_cluster
    from qdrant_stand_in import running_stand_in

    weights = write_weights(folder / "tiny.h5")
    StampedEngine.arrived.clear()
    request = {
        "dataset": Dataset(name="data", root=folder / "images"),
        "specs": [ModelSpec.of("vgg", layer="block1_conv1", weights=str(weights))],
        "distances": [Distance.EUCLID],
        "batch_size": BATCH_SIZE,
    }
    with running_cluster(*[1] * nodes) as cluster, running_stand_in() as server:
        store = connect(server.url, api_key=None)
        engine = EngineChoice(name=EngineName.RAY, address=cluster.address)
        run_ingest(
            IngestRequest(**request, engine=engine),
            store=store,
            settings=Settings(home=folder / "home"),
            stop=StopRequest(),
        )
        store.close()
    return StampedEngine.images_per_second(nodes)


def write_weights(path: Path) -> Path:
    """Writes VGG16's first layer, of which only the number of values matters here."""
    import h5py

    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"block1_conv1"]
        group = file.create_group("block1_conv1")
        group.attrs["weight_names"] = [b"block1_conv1_W_1:0", b"block1_conv1_b_1:0"]
        group["block1_conv1_W_1:0"] = np.ones((3, 3, 3, 64), np.float32)
        group["block1_conv1_b_1:0"] = np.zeros(64, np.float32)
    return path


if __name__ == "__main__":
    main()
