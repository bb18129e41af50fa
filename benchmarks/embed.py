"""What does an ingest cost beside the network alone, and what would Keras take? Images per second.

    python benchmarks/embed.py PHOTOS --backbone vgg --weights FILE [--layer L] [--images 96] [--rounds 5]

Three ways, one after the other in every round, over the same pictures in the same order and in batches
of 16:

    bare    our ONNX Runtime session on pixels that are decoded already
    ingest  `run_ingest` into a fresh embedded store: scan, read, hash, decode, embed, write
    keras   Keras' `predict` with the same weights, on pixels that are decoded and preprocessed already,
            where Keras is installed

`bare` and `ingest` share one session; opening it, and exporting the model, is counted nowhere. The files
were written a moment ago and lie in the system's cache. A first round warms everything up and is not
counted. A ratio is taken within each round, and its median is what is printed, so that a machine that
gets slower or faster meanwhile moves both sides of it.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import numpy as np
from machine import describe
from numpy.typing import NDArray

from exporter import ModelSpec, ready_model
from ingest.run import IngestRequest, StopRequest, run_ingest
from ingest.target import Dataset
from lookalike.backbones import VGG16, Pooling
from lookalike.console import Quiet
from lookalike.embedder import BATCH_SIZE, Embedder
from lookalike.errors import PictureError
from lookalike.manifest import Distance
from lookalike.pictures.decoding import Picture, decode
from lookalike.pictures.files import opened, sha256_of
from lookalike.pictures.scan import FoundFile, scan
from lookalike.settings import Settings
from lookalike.stores.embedded import EmbeddedStore

AGREEMENT = 1e-3
"""Of the largest value: Keras' vectors that differ by more are another network's."""

Way = Callable[[], object]


def main() -> None:
    """Prints a row for each round, the medians, and the two ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--backbone", required=True, help="resnet or vgg")
    parser.add_argument("--weights", required=True, type=Path, help="a Keras .h5 file")
    parser.add_argument("--layer")
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    spec = ModelSpec.of(arguments.backbone, layer=arguments.layer, weights=str(arguments.weights))
    print(describe())
    with tempfile.TemporaryDirectory(prefix="lookalike-benchmark-") as folder:
        home = Path(folder)
        pictures = copy_pictures(arguments.photos, home / "photos", arguments.images)
        ways = prepare_ways(spec, pictures, home)
        compare(ways, images=len(pictures), rounds=arguments.rounds)


def copy_pictures(photos: Path, folder: Path, count: int) -> list[Picture]:
    """Up to `count` pictures from all over `photos`, copied, in the order in which an ingest finds them.

    No two have the same bytes, since an ingest embeds such a picture once.
    """
    found = [entry for entry in scan(photos) if isinstance(entry, FoundFile)]
    pictures: dict[str, Picture] = {}
    sizes = []
    for entry in found[:: max(1, len(found) // count)][:count]:
        with suppress(PictureError), opened(entry.file) as stream:
            sha256 = sha256_of(stream)
            if sha256 not in pictures:
                pictures[sha256] = decode(stream, entry.path)
                stream.seek(0)
                data = stream.read()
                copy = folder / entry.path
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(data)
                sizes.append(len(data))
    if not pictures:
        raise SystemExit(f"{photos} holds no pictures")
    width, height = (median(getattr(p, side) for p in pictures.values()) for side in ("width", "height"))
    print(
        f"{len(pictures)} pictures, in the median {width:.0f} x {height:.0f} pixels and "
        f"{median(sizes) / 1000:.0f} KB; batches of {BATCH_SIZE}"
    )
    return list(pictures.values())


def prepare_ways(spec: ModelSpec, pictures: list[Picture], home: Path) -> dict[str, Way]:
    """The ways by name, each ready to run over all pictures; `keras` only where it is installed."""
    settings = replace(Settings.from_environment(), home=home)
    path = ready_model(spec, settings=settings, reporter=Quiet()).path
    started = time.perf_counter()
    model = Embedder.load(path, provider=settings.provider)
    took_s = time.perf_counter() - started
    print(f"{spec.backbone.title} {spec.layer} {spec.pooling} on {model.provider}, opened in {took_s:.2f} s")
    pixels = np.stack([picture.pixels for picture in pictures])
    ways: dict[str, Way] = {
        "bare": lambda: bare(model, pixels),
        "ingest": lambda: ingest(spec, model, settings, expected=len(pictures)),
    }
    predict = keras_way(spec, pixels)
    if predict is None:
        print("keras is not measured: it is not installed")
        return ways
    say_agreement(bare(model, pixels), predict())
    return {**ways, "keras": predict}


def bare(model: Embedder, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """float32 `[N, D]`, batch by batch."""
    starts = range(0, len(pixels), BATCH_SIZE)
    return np.concatenate([model.embed(pixels[start : start + BATCH_SIZE]) for start in starts])


def ingest(spec: ModelSpec, model: Embedder, settings: Settings, *, expected: int) -> None:
    """A first ingest of the copied pictures, with a session that is open already."""
    root = settings.home / "photos"
    request = IngestRequest(
        dataset=Dataset(name="photos", root=root), specs=[spec], distances=[Distance.COSINE]
    )
    with (
        tempfile.TemporaryDirectory(dir=settings.home) as folder,
        mock.patch.object(Embedder, "load", return_value=model),
    ):
        report = run_ingest(
            request,
            store=EmbeddedStore(Path(folder)),
            settings=settings,
            reporter=Quiet(),
            stop=StopRequest(),
        )
    if report.embedded != expected:
        raise RuntimeError(f"{report.embedded} of {expected} pictures were embedded: {report.skipped}")


def keras_way(spec: ModelSpec, pixels: NDArray[np.uint8]) -> Callable[[], NDArray[np.float32]] | None:
    """`predict` over all pictures, or None without Keras; preprocessing is done beforehand."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import keras
    except ImportError:
        return None
    model, preprocess = _keras_model(spec)
    prepared = preprocess(pixels.astype(np.float32))
    print(f"Keras {keras.__version__} on {_backend()}")
    return lambda: np.asarray(model.predict(prepared, batch_size=BATCH_SIZE, verbose=0))


def _keras_model(spec: ModelSpec) -> tuple[Any, Callable[[NDArray[np.float32]], NDArray[np.float32]]]:
    """Keras' own network up to the layer, pooled, with the weights loaded by name, and its preprocessing."""
    from keras import Model, applications, layers

    if spec.backbone is VGG16:
        build, preprocess = applications.VGG16, applications.vgg16.preprocess_input
    else:
        build, preprocess = applications.ResNet101V2, applications.resnet_v2.preprocess_input
    top = {"include_top": True} if spec.layer in spec.backbone.top_layers else {"include_top": False}
    network = build(weights=None, input_shape=(224, 224, 3), **top)
    by_name = {} if spec.weights.endswith(".weights.h5") else {"by_name": True}
    network.load_weights(spec.weights, **by_name)
    pool = {
        Pooling.AVG: layers.GlobalAveragePooling2D(),
        Pooling.MAX: layers.GlobalMaxPooling2D(),
        Pooling.FLATTEN: layers.Flatten(),
        Pooling.NONE: layers.Identity(),
    }[spec.pooling]
    return Model(network.input, pool(network.get_layer(spec.layer).output)), preprocess


def _backend() -> str:
    import keras

    name: str = keras.backend.backend()
    if name != "tensorflow":
        return name
    import tensorflow as tf

    gpus = len(tf.config.list_physical_devices("GPU"))
    return f"TensorFlow {tf.__version__} with {gpus or 'no'} GPU"


def say_agreement(ours: NDArray[np.float32], keras: NDArray[np.float32]) -> None:
    """A race between two networks that do not give the same vectors would say nothing."""
    difference = float(np.abs(ours - keras).max() / np.abs(keras).max())
    if difference > AGREEMENT:
        raise RuntimeError(f"Keras gives other vectors (by {difference:.1e} of the largest value)")
    print(f"its vectors differ from ours by at most {difference:.1e} of the largest value")


def compare(ways: dict[str, Way], *, images: int, rounds: int) -> None:
    """Runs all ways in turns and prints what came of it."""
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    print("images/s   " + "".join(f"{name:>9}" for name in ways), flush=True)
    for number in range(rounds + 1):
        measured = {name: images / _seconds(way) for name, way in ways.items()}
        print_row(f"round {number}" if number else "warm-up", measured)
        if number:
            for name, speed in measured.items():
                speeds[name].append(speed)
    print_row("median", {name: median(values) for name, values in speeds.items()})
    for above, below in (("ingest", "bare"), ("bare", "keras")):
        if below in ways:
            ratios = [a / b for a, b in zip(speeds[above], speeds[below], strict=True)]
            print(f"{above}/{below} {median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")


def print_row(title: str, speeds: dict[str, float]) -> None:
    """One line of the table."""
    print(f"{title:11}" + "".join(f"{speed:9.2f}" for speed in speeds.values()), flush=True)


def _seconds(way: Way) -> float:
    started = time.perf_counter()
    way()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
