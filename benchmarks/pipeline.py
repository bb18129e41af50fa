"""Measures what an ingest costs beside the network, and the highest rate it could reach: images per second.

    python benchmarks/pipeline.py [--images 1024] [--rounds 3] [--output pipeline.json]
    python benchmarks/pipeline.py --images 48 --megapixels 12
    python benchmarks/pipeline.py --images 48 --megapixels 12 --weights vgg16.h5 --precision int8

Images are blurred noise in JPEG files. The network is a stand-in that takes a fixed time for each image
without holding Python's global lock, as a session does, and returns 64 random values; so the pipeline is
measured alone, on any machine, at the speed of any network. Each round runs in turn:

    decoding        reading, hashing and decoding on all cores in threads, and nothing else
    processes       the same in as many running processes as cores
    RATE images/s   a whole ingest into a fresh embedded store, with a network of that rate, or of any, from
                    the first file looked at to the last point written

The share is that of the slower of decoding and the network. `--models 2` runs two backbones, each with its
own pass.

With `--weights` the network is a real one on the CPU or on `--provider`, opened before: `network` is its
session alone on decoded pixels, `ingest` the whole. Where it computes on the cores that decode, an ingest
takes at least the sum of both times: that is the second share.
"""

import argparse
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np
from commands import draw
from embed import embed_batches
from lookalike_core.cpu_count import count_cores
from lookalike_core.images.decoding import DecodedImage
from lookalike_core.images.scan import FoundFile, scan
from lookalike_core.models.embedder import BATCH_SIZE, Embedder
from lookalike_core.models.model_manifest import Precision
from lookalike_core.prefetch import map_ahead
from lookalike_core.settings import ProviderChoice, Settings
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_exporter.export import add_activation_ranges, ensure_exported
from lookalike_exporter.spec import ModelSpec
from lookalike_ingest.image_reader import read_image
from lookalike_ingest.report import IngestReport
from lookalike_ingest.request import Dataset, IngestRequest, StopRequest
from lookalike_ingest.run import run_ingest
from machine import describe, write_results
from numpy.typing import NDArray
from PIL import Image
from scan import write_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DIMENSION = 64


def main() -> None:
    """Prints a line for each way, and writes the results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--megapixels", type=float, help="size of an image; default: 320 x 240 pixels")
    parser.add_argument("--rates", type=float, nargs="*", default=[50, 200, 1000])
    parser.add_argument("--models", type=int, choices=(1, 2), default=1)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--weights", type=Path, help="a Keras .h5 file; use a real network")
    parser.add_argument("--backbone", default="vgg")
    parser.add_argument("--layer")
    parser.add_argument("--precision", type=Precision, default=Precision.FP32)
    parser.add_argument("--provider", type=ProviderChoice, default=ProviderChoice.CPU)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    print(describe())
    with tempfile.TemporaryDirectory(prefix="lookalike-benchmark-") as name, ExitStack() as stack:
        home = Path(name)
        if arguments.megapixels:
            draw_large(home / "pictures", arguments.images, arguments.megapixels)
        else:
            draw(home / "pictures", arguments.images)
        rows = (measure_real if arguments.weights else measure)(home, arguments, stack)
    write_results(arguments.output, {"rows": rows})


def measure(home: Path, arguments: argparse.Namespace, stack: ExitStack) -> list[dict[str, object]]:
    """Returns images per second of each way, in turn."""
    weights = write_weights(home / "weights.h5")
    ways = decoding_ways(home / "pictures", stack)
    limits: dict[str, float] = {}
    for rate in [*arguments.rates, 0.0]:
        name = f"{rate:g} images/s" if rate else "none"
        limits[name] = rate / arguments.models or float("inf")
        ways[name] = lambda rate=rate: ingest(home, weights, rate, arguments)
    speeds = measure_in_turn(ways, arguments)
    rows: list[dict[str, object]] = []
    for name, found in speeds.items():
        pairs = zip(found, speeds["decoding"], strict=True)
        shares = [speed / min(limits.get(name, float("inf")), decoding) for speed, decoding in pairs]
        rows.append({"way": name, "images_per_second": found, "share": shares})
        print(f"{name:16} {median(found):8.1f} images/s, share {median(shares):.2f}", flush=True)
    return rows


def measure_real(home: Path, arguments: argparse.Namespace, stack: ExitStack) -> list[dict[str, object]]:
    """Measures decoding alone, the network alone, and both in a whole ingest."""
    settings = replace(Settings.from_environment(), home=home)
    spec = ModelSpec.of(
        arguments.backbone,
        layer=arguments.layer,
        weights=str(arguments.weights),
        precision=arguments.precision,
    )
    spec = add_activation_ranges(spec, home / "pictures", settings=settings)
    model = ensure_exported(spec, settings=settings).path
    session = Embedder.load(model, provider=arguments.provider)
    print(f"{session.provider}, {arguments.precision}", flush=True)
    pixels = np.stack([image.pixels for image in decode_all(home / "pictures")])
    request = IngestRequest(
        dataset=Dataset(name="pictures", root=(home / "pictures").resolve()),
        specs=[spec],
        distances=[Distance.COSINE],
        batch_size=arguments.batch_size,
    )
    ways = {
        **decoding_ways(home / "pictures", stack),
        "network": lambda: embed_batches(session, pixels, arguments.batch_size or BATCH_SIZE),
        "ingest": lambda: ingest_with(session, request, settings, arguments.images),
    }
    speeds = measure_in_turn(ways, arguments)
    rounds = list(zip(speeds["ingest"], speeds["decoding"], speeds["network"], strict=True))
    slower = [speed / min(decoding, network) for speed, decoding, network in rounds]
    both = [speed * (1 / decoding + 1 / network) for speed, decoding, network in rounds]
    for name, found in speeds.items():
        print(f"{name:16} {median(found):8.1f} images/s ({min(found):.1f} to {max(found):.1f})")
    print(f"share of the slower {median(slower):.2f}, of both on the same cores {median(both):.2f}")
    return [
        {"way": name, "images_per_second": found, "share": slower, "share_of_both": both}
        for name, found in speeds.items()
    ]


def measure_in_turn(
    ways: "Mapping[str, Callable[[], object]]", arguments: argparse.Namespace
) -> dict[str, list[float]]:
    """Returns images per second of each way in each round; the first round warms up."""
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(arguments.rounds + 1):
        for name, way in ways.items():
            started = time.perf_counter()
            report = way()
            took_s = time.perf_counter() - started
            if number:
                own_s = report.reading_s if isinstance(report, IngestReport) else took_s
                speeds[name].append(arguments.images / own_s)
    return speeds


def decoding_ways(folder: Path, stack: ExitStack) -> "dict[str, Callable[[], object]]":
    """Returns decoding in threads, as an ingest does it, and in processes."""
    found = [entry for entry in scan(folder) if isinstance(entry, FoundFile)]
    pool = stack.enter_context(ProcessPoolExecutor(count_cores(), multiprocessing.get_context("spawn")))
    return {
        "decoding": lambda: decode_all(folder),
        "processes": lambda: list(pool.map(decode_one, found, chunksize=2)),
    }


def decode_all(folder: Path) -> list[DecodedImage]:
    """Decodes all images, read ahead as in an ingest."""
    found = (entry for entry in scan(folder) if isinstance(entry, FoundFile))
    return list(map_ahead(decode_one, found, ahead=32))


def decode_one(found: FoundFile) -> DecodedImage:
    """Reads, hashes and decodes a file."""
    read = read_image(found, lambda _: False)
    if read.image is None:
        raise RuntimeError(f"{found.path}: {read.problem}")
    return read.image


def ingest(home: Path, weights: Path, rate: float, arguments: argparse.Namespace) -> IngestReport:
    """Runs a first ingest into a fresh store."""
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
    return ingest_with(StandIn(rate), request, settings, arguments.images)


def ingest_with(
    session: "Embedder | StandIn", request: IngestRequest, settings: Settings, images: int
) -> IngestReport:
    """Runs a first ingest into a fresh store, with a given session in the place of each that it opens."""
    with (
        tempfile.TemporaryDirectory(dir=settings.home) as folder,
        mock.patch.object(Embedder, "load", return_value=session),
    ):
        store = EmbeddedStore(Path(folder))
        report = run_ingest(request, store=store, settings=settings, stop=StopRequest())
    if report.embedded != images:
        raise RuntimeError(f"{report.embedded} images were embedded: {report.skipped}")
    return report


class StandIn:
    """Stands in for an `Embedder`: returns random vectors after a fixed time."""

    provider = "stand-in"
    notice = None

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._random = np.random.default_rng(0)

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Returns random float32 `[N, 64]`."""
        if self._rate:
            time.sleep(len(pixels) / self._rate)
        return self._random.random((len(pixels), DIMENSION), dtype=np.float32)


def draw_large(folder: Path, count: int, megapixels: float) -> None:
    """Draws blurred noise with some grain, 4 to 3, as large as a camera's images."""
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
