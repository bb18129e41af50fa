"""Measures how fast images are embedded, what an ingest costs beside that, and how fast peers are.

    python benchmarks/embed.py PHOTOS --backbone vgg --weights FILE [--layer L] [--images 96] [--rounds 5]
        [--provider cpu --provider openvino] [--precision fp32 --precision int8] [--batch-size 16]
        [--no-peers] [--json FILE]

The ways run one after the other in every round, over the same images in the same order:

    PROVIDER PRECISION   our session, on pixels that are decoded already
    ingest ...           `run_ingest` into a fresh embedded store: scan, read, hash, decode, embed, write
    the peers            see `peers.py`; their vectors, of fp32, are compared with ours first

An ingest uses the session above it; the times of opening the session and of exporting and calibrating the
model are not counted. The files were just written and are in the system's cache. A first round warms up and
is not counted. It prints the median of each round's ratio, so that a machine whose speed changes affects
both sides.

The short form (`--short`) compares a session of ours, and a whole ingest, with a bare session, on VGG16's
first layer with random weights.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from unittest import mock

import numpy as np
from commands import draw
from lookalike_core.errors import ImageError
from lookalike_core.images.decoding import DecodedImage, decode
from lookalike_core.images.open_image import hash_stream, open_file
from lookalike_core.images.scan import FoundFile, scan
from lookalike_core.models.embedder import BATCH_SIZE, Embedder
from lookalike_core.models.model_manifest import Precision
from lookalike_core.settings import ProviderChoice, Settings
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_exporter.export import add_activation_ranges, ensure_exported
from lookalike_exporter.spec import ModelSpec
from lookalike_ingest.request import Dataset, IngestRequest, StopRequest
from lookalike_ingest.run import run_ingest
from machine import describe, write_results
from numpy.typing import NDArray
from peers import AGREEMENT, disagreement, peers
from short import Duel, run_either
from small import bare_session, settings_in, write_weights

Way = Callable[[], object]


def main() -> None:
    """Prints a row for each round, the medians and the ratios."""
    arguments = parsed()
    spec = ModelSpec.of(arguments.backbone, layer=arguments.layer, weights=str(arguments.weights))
    print(describe())
    with tempfile.TemporaryDirectory(prefix="lookalike-benchmark-") as folder:
        home = Path(folder)
        images = copy_images(arguments.photos, home / "photos", arguments.images)
        print(f"batches of {arguments.batch_size}")
        ways = dict(prepare_ways(spec, images, home, arguments))
        results = compare(ways, images=len(images), rounds=arguments.rounds)
    write_results(arguments.json, {"network": f"{spec.backbone.title} {spec.layer}", **results})


def model_parser(module_doc: str) -> argparse.ArgumentParser:
    """Returns a parser with the photos and the model of a benchmark, described by its module's first line."""
    parser = argparse.ArgumentParser(description=module_doc.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--backbone", required=True, help="resnet or vgg")
    parser.add_argument("--weights", required=True, type=Path, help="a Keras .h5 file")
    parser.add_argument("--layer")
    return parser


def parsed() -> argparse.Namespace:
    """Returns the arguments of the command line."""
    parser = model_parser(__doc__)
    parser.add_argument("--provider", action="append", type=ProviderChoice, help="cpu; may be repeated")
    parser.add_argument("--precision", action="append", type=Precision, help="fp32; may be repeated")
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE)
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-peers", action="store_true", help="measure no peers")
    parser.add_argument("--json", type=Path, help="write the results here as well")
    return parser.parse_args()


def copy_images(photos: Path, folder: Path, count: int) -> list[DecodedImage]:
    """Copies up to `count` images from all over `photos`; returns them in the order of an ingest.

    No two have the same bytes, since an ingest embeds such an image once.
    """
    found = [entry for entry in scan(photos) if isinstance(entry, FoundFile)]
    images: dict[str, DecodedImage] = {}
    sizes = []
    for entry in found[:: max(1, len(found) // count)][:count]:
        with suppress(ImageError), open_file(entry.file) as stream:
            sha256 = hash_stream(stream)
            if sha256 not in images:
                images[sha256] = decode(stream, entry.path)
                stream.seek(0)
                data = stream.read()
                copy = folder / entry.path
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(data)
                sizes.append(len(data))
    if not images:
        raise SystemExit(f"{photos} contains no images; name a folder of photos")
    width, height = (median(getattr(p, side) for p in images.values()) for side in ("width", "height"))
    print(
        f"{len(images)} images, in the median {width:.0f} x {height:.0f} pixels and "
        f"{median(sizes) / 1000:.0f} KB"
    )
    return list(images.values())


def prepare_ways(
    spec: ModelSpec, images: list[DecodedImage], home: Path, arguments: argparse.Namespace
) -> Iterator[tuple[str, Way]]:
    """Returns each way by its name, ready to run over all images."""
    settings = replace(Settings.from_environment(), home=home)
    plain = ensure_exported(spec, settings=settings).path
    pixels = np.stack([image.pixels for image in images])
    ours = embed_batches(Embedder.load(plain, provider=ProviderChoice.CPU), pixels, arguments.batch_size)
    for precision in arguments.precision or [Precision.FP32]:
        exact = add_activation_ranges(replace(spec, precision=precision), arguments.photos, settings=settings)
        path = ensure_exported(exact, settings=settings).path
        for provider in arguments.provider or [ProviderChoice.CPU]:
            session = open_session(path, provider)
            cosine = lowest_cosine(ours, embed_batches(session, pixels, arguments.batch_size))
            name = f"{provider.value} {precision.value}"
            print(f"{name}: lowest cosine to fp32 on the processor {cosine:.6f}")
            yield name, partial(embed_batches, session, pixels, arguments.batch_size)
            yield (
                f"ingest {name}",
                partial(
                    ingest,
                    exact,
                    session,
                    settings,
                    batch_size=arguments.batch_size,
                    expected=len(images),
                ),
            )
    if not arguments.no_peers:
        for name, way in peers(spec, plain, pixels, batch=arguments.batch_size):
            require_agreement(name, disagreement(ours, way()))
            yield name, way


def open_session(model: Path, provider: ProviderChoice) -> Embedder:
    """Opens a session, and prints how long that took and which provider it has."""
    started = time.perf_counter()
    session = Embedder.load(model, provider=provider)
    print(f"{provider}: {session.provider}, opened in {time.perf_counter() - started:.2f} s")
    return session


def embed_batches(model: Embedder, pixels: NDArray[np.uint8], batch: int = BATCH_SIZE) -> NDArray[np.float32]:
    """Returns float32 `[N, D]`, computed batch by batch."""
    starts = range(0, len(pixels), batch)
    return np.concatenate([model.embed(pixels[start : start + batch]) for start in starts])


def ingest(spec: ModelSpec, model: Embedder, settings: Settings, *, batch_size: int, expected: int) -> None:
    """Runs a first ingest of the copied images, with a session that is open already."""
    root = settings.home / "photos"
    request = IngestRequest(
        dataset=Dataset(name="photos", root=root),
        specs=[spec],
        distances=[Distance.COSINE],
        batch_size=batch_size,
    )
    with (
        tempfile.TemporaryDirectory(dir=settings.home) as folder,
        mock.patch.object(Embedder, "load", return_value=model),
    ):
        report = run_ingest(request, store=EmbeddedStore(Path(folder)), settings=settings, stop=StopRequest())
    if report.embedded != expected:
        raise RuntimeError(f"{report.embedded} of {expected} images were embedded: {report.skipped}")


def lowest_cosine(expected: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """Returns the lowest cosine between rows of two arrays `[N, D]`."""
    a, b = expected.astype(np.float64), found.astype(np.float64)
    return float(((a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


def require_agreement(name: str, difference: float) -> None:
    """Raises where vectors differ too much: speeds of different networks cannot be compared."""
    if difference > AGREEMENT:
        raise RuntimeError(f"{name} gives different vectors (by {difference:.1e} of the largest value)")
    print(f"{name}: vectors differ from ours by at most {difference:.1e} of the largest value")


def compare(ways: dict[str, Way], *, images: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Runs all ways in turn, prints a summary, and returns images/s of each, round by round."""
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    width = max(len(name) for name in ways) + 2
    print(f"{'images/s':11}" + "".join(f"{name:>{width}}" for name in ways), flush=True)
    for number in range(rounds + 1):
        measured = {name: images / _seconds(way) for name, way in ways.items()}
        _print_row(f"round {number}" if number else "warm-up", measured, width)
        if number:
            for name, speed in measured.items():
                speeds[name].append(speed)
    _print_row("median", {name: median(values) for name, values in speeds.items()}, width)
    for above, below in _pairs(list(ways)):
        ratios = [a / b for a, b in zip(speeds[above], speeds[below], strict=True)]
        print(f"{above} / {below}: {median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")
    return {"images_per_second": speeds}


def _pairs(names: list[str]) -> Iterator[tuple[str, str]]:
    """Yields the pairs to compare: each ingest with its own session, and with each peer."""
    ours = [name for name in names if name.startswith("ingest ")]
    sessions = [name.removeprefix("ingest ") for name in ours]
    for name, session in zip(ours, sessions, strict=True):
        yield name, session
        yield from ((name, peer) for peer in names if peer not in (*ours, *sessions))


def _print_row(title: str, speeds: dict[str, float], width: int) -> None:
    print(f"{title:11}" + "".join(f"{speed:{width}.2f}" for speed in speeds.values()), flush=True)


def _seconds(way: Way) -> float:
    started = time.perf_counter()
    way()
    return time.perf_counter() - started


def short(folder: Path) -> Iterator[Duel]:
    """Yields a session of ours, and a whole ingest, beside a bare session."""
    weights, settings = write_weights(folder / "weights.h5", "block1_conv1"), settings_in(folder)
    spec = ModelSpec.of("vgg", layer="block1_conv1", weights=str(weights))
    draw(folder / "drawn", 2 * BATCH_SIZE)
    images = copy_images(folder / "drawn", settings.home / "photos", 2 * BATCH_SIZE)
    pixels = np.stack([image.pixels for image in images])
    path = ensure_exported(spec, settings=settings).path
    model, bare = Embedder.load(path, provider=ProviderChoice.CPU), bare_session(path, batch=BATCH_SIZE)
    whole = partial(ingest, spec, model, settings, batch_size=BATCH_SIZE, expected=len(images))
    alone = partial(bare, pixels)
    yield Duel(name="embed: our session / a bare one", ours=partial(embed_batches, model, pixels), peer=alone)
    yield Duel(name="embed: whole ingest / a bare session", ours=whole, peer=alone)


if __name__ == "__main__":
    run_either(main, short)
