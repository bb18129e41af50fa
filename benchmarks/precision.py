"""Measures what fp16 and int8 cost in neighbours; `embed.py` measures what they gain in speed.

    python benchmarks/precision.py PHOTOS --backbone vgg --weights FILE [--layer L] [--images 1000]

The same images are embedded by the fp32, the fp16 and the int8 model; activation ranges are measured on the
folder, as by `ingest run`. It prints the cosines to the fp32 vectors, and the share of the ten nearest by
cosine and exact search that is the same. All models run on the CPU, by ONNX Runtime's own provider.
"""

import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from embed import embed_batches, model_parser
from lookalike_core.images.sampling import draw_sample
from lookalike_core.models.embedder import Embedder
from lookalike_core.models.model_manifest import Precision
from lookalike_core.models.providers import load_runtime
from lookalike_core.settings import Settings
from lookalike_exporter.export import add_activation_ranges, ensure_exported
from lookalike_exporter.spec import ModelSpec
from machine import describe
from numpy.typing import NDArray

NEIGHBOURS = 10

FEW = 100
"""Images for fp16, which is slow on a CPU."""

Vectors = NDArray[np.float32]


def main() -> None:
    """Prints the operators of the models, and their differences."""
    parser = model_parser(__doc__)
    parser.add_argument("--images", type=int, default=1000)
    arguments = parser.parse_args()
    print(describe())
    spec = ModelSpec.of(arguments.backbone, layer=arguments.layer, weights=str(arguments.weights))
    with tempfile.TemporaryDirectory(prefix="lookalike-benchmark-") as folder:
        models = prepare(spec, arguments.photos, Path(folder))
        pixels = np.stack(list(draw_sample(arguments.photos, count=arguments.images)))
        expected = embed_batches(models[Precision.FP32], pixels)
        print_difference(Precision.INT8, expected, embed_batches(models[Precision.INT8], pixels))
        few = pixels[:FEW]
        print_difference(Precision.FP16, expected[:FEW], embed_batches(models[Precision.FP16], few))


def prepare(spec: ModelSpec, photos: Path, home: Path) -> dict[Precision, Embedder]:
    """Returns a session for each precision, and prints the time to make it."""
    settings = replace(Settings.from_environment(), home=home, provider="cpu")
    models = {}
    for precision in Precision:
        started = time.perf_counter()
        wanted = replace(spec, precision=precision)
        wanted = add_activation_ranges(wanted, photos, settings=settings)
        path = ensure_exported(wanted, settings=settings).path
        took_s = time.perf_counter() - started
        models[precision] = Embedder.load(path, provider="cpu")
        print(f"{precision}: {path.stat().st_size / 1e6:.0f} MB, made in {took_s:.1f} s")
        if precision is Precision.INT8:
            print(f"  runs as {', '.join(operators(path, home))}")
    return models


def operators(path: Path, home: Path) -> list[str]:
    """Returns the optimized graph's operators, most frequent first; `QLinearConv` convolves in int8."""
    import onnx

    runtime = load_runtime()
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(home / "optimised.onnx")
    runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(options.optimized_model_filepath).graph.node
    return [f"{count} {kind}" for kind, count in Counter(node.op_type for node in nodes).most_common()]


def print_difference(precision: Precision, expected: Vectors, found: Vectors) -> None:
    """Prints the cosines to fp32, and the share of nearest neighbours that is the same."""
    cosines = (to_unit_length(expected) * to_unit_length(found)).sum(axis=1)
    one, other = nearest_rows(expected), nearest_rows(found)
    shared = sum(len(np.intersect1d(a, b)) for a, b in zip(one, other, strict=True))
    print(
        f"{precision}: cosine to fp32 at least {cosines.min():.6f}, {cosines.mean():.6f} on average; "
        f"{shared / one.size:.1%} of the {NEIGHBOURS} nearest are the same, {len(found)} images"
    )


def to_unit_length(vectors: Vectors) -> NDArray[np.float64]:
    """Returns the rows scaled to length 1."""
    exact = vectors.astype(np.float64)
    return np.asarray(exact / np.linalg.norm(exact, axis=1, keepdims=True))


def nearest_rows(vectors: Vectors) -> NDArray[np.int64]:
    """Returns the rows of the nearest of each row by cosine, itself left out."""
    similarity = to_unit_length(vectors) @ to_unit_length(vectors).T
    np.fill_diagonal(similarity, -np.inf)
    return np.argsort(-similarity, axis=1, kind="stable")[:, :NEIGHBOURS]


if __name__ == "__main__":
    main()
