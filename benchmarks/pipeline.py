"""What does an ingest cost beside the network, and what is the most that it could do? Images per second.

    python benchmarks/pipeline.py [--images 1024] [--rounds 3] [--output pipeline.json]
    python benchmarks/pipeline.py --images 48 --megapixels 12

Pictures are drawn: blurred noise as JPEG. The network is a stand-in that takes a fixed time a picture without
holding Python's lock, as a session does, and gives 64 random values; so this shows the pipeline alone, on
any machine, at the speed of any network. In every round, one after the other:

    decoding        reading, hashing and decoding on all cores, and nothing else
    RATE images/s   a whole ingest into a fresh embedded store, with a network of that rate, or of any

The share is of the slower of decoding and the network. Two backbones: `--models 2`, a pass of each.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np
from commands import draw
from machine import describe, write_results
from numpy.typing import NDArray
from PIL import Image
from scan import write_weights

from exporter import ModelSpec
from ingest.reading import map_ahead, read_picture
from ingest.run import IngestRequest, StopRequest, run_ingest
from ingest.target import Dataset
from lookalike.console import Quiet
from lookalike.embedder import Embedder
from lookalike.manifest import Distance
from lookalike.pictures.scan import FoundFile, scan
from lookalike.settings import Settings
from lookalike.stores.embedded import EmbeddedStore

if TYPE_CHECKING:
    from collections.abc import Callable

DIMENSION = 64


def main() -> None:
    """Prints a line a way, and writes what was measured as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--megapixels", type=float, help="of a picture; 320 x 240 pixels without it")
    parser.add_argument("--rates", type=float, nargs="*", default=[50, 200, 1000])
    parser.add_argument("--models", type=int, choices=(1, 2), default=1)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    print(describe())
    with tempfile.TemporaryDirectory(prefix="lookalike-benchmark-") as name:
        home = Path(name)
        if arguments.megapixels:
            draw_large(home / "pictures", arguments.images, arguments.megapixels)
        else:
            draw(home / "pictures", arguments.images)
        rows = measure(home, arguments)
    write_results(arguments.output, {"rows": rows})


def measure(home: Path, arguments: argparse.Namespace) -> list[dict[str, object]]:
    """Images a second of each way, in turns."""
    weights = write_weights(home / "weights.h5")
    ways: dict[str, Callable[[], None]] = {"decoding": lambda: decode_all(home / "pictures")}
    limits: dict[str, float] = {}
    for rate in [*arguments.rates, 0.0]:
        name = f"{rate:g} images/s" if rate else "none"
        limits[name] = rate / arguments.models or float("inf")
        ways[name] = lambda rate=rate: ingest(home, weights, rate, arguments)
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(arguments.rounds + 1):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            if number:  # the first round warms up
                speeds[name].append(arguments.images / (time.perf_counter() - started))
    rows: list[dict[str, object]] = []
    for name, found in speeds.items():
        pairs = zip(found, speeds["decoding"], strict=True)
        shares = [speed / min(limits.get(name, float("inf")), decoding) for speed, decoding in pairs]
        rows.append({"way": name, "images_per_second": found, "share": shares})
        print(f"{name:16} {median(found):8.1f} images/s, share {median(shares):.2f}", flush=True)
    return rows


def decode_all(folder: Path) -> None:
    """As an ingest reads ahead."""
    found = (entry for entry in scan(folder) if isinstance(entry, FoundFile))
    for read in map_ahead(lambda file: read_picture(file, lambda _: False), found, ahead=32):
        if read.picture is None:
            raise RuntimeError(f"{read.found.path}: {read.problem}")


def ingest(home: Path, weights: Path, rate: float, arguments: argparse.Namespace) -> None:
    """A first ingest into a fresh store."""
    settings = replace(Settings.from_environment(), home=home)
    specs = [ModelSpec.of("vgg", layer="block1_conv1", weights=str(weights))]
    distances = [Distance.COSINE]
    if arguments.models == 2:  # noqa: PLR2004
        specs.append(replace(specs[0], pooling=type(specs[0].pooling).MAX))
    request = IngestRequest(
        dataset=Dataset(name="pictures", root=(home / "pictures").resolve()),
        specs=specs,
        distances=distances,
        batch_size=arguments.batch_size,
    )
    with (
        tempfile.TemporaryDirectory(dir=home) as folder,
        mock.patch.object(Embedder, "load", return_value=StandIn(rate)),
    ):
        store = EmbeddedStore(Path(folder))
        report = run_ingest(request, store=store, settings=settings, reporter=Quiet(), stop=StopRequest())
    if report.embedded != arguments.images:
        raise RuntimeError(f"{report.embedded} pictures were embedded: {report.skipped}")


class StandIn:
    """In the place of an `Embedder`: random vectors after a while."""

    provider = "stand-in"
    notice = None

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._random = np.random.default_rng(0)

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """float32 `[N, 64]`."""
        if self._rate:
            time.sleep(len(pixels) / self._rate)
        return self._random.random((len(pixels), DIMENSION), dtype=np.float32)


def draw_large(folder: Path, count: int, megapixels: float) -> None:
    """Blurred noise with some grain, 4 to 3, as large as a camera's."""
    rng = np.random.default_rng(0)
    width, height = round((megapixels * 4e6 / 3) ** 0.5), round((megapixels * 3e6 / 4) ** 0.5)
    folder.mkdir(parents=True)
    for number in range(count):
        noise = rng.integers(0, 256, (96, 128, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC))
        grain = rng.integers(0, 24, smooth.shape, dtype=np.uint8)
        Image.fromarray(np.minimum(smooth, 231) + grain).save(folder / f"{number:05}.jpg", quality=88)


if __name__ == "__main__":
    main()
