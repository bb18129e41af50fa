"""Measures what bfloat16 costs in neighbours; OpenVINO's plugin computes in it where the processor can.

    python benchmarks/bfloat16.py PHOTOS --backbone vgg --weights FILE [--layer L] [--images 1000]

The same images are embedded in fp32 by ONNX Runtime's own provider and in bfloat16: by OpenVINO's plugin
where this processor computes in bfloat16, and everywhere by an emulation, see `rounding.py`. It prints the
cosines to the fp32 vectors, and the share of the ten nearest by cosine and exact search that is the same:
among the bfloat16 vectors, and for bfloat16 queries among the fp32 vectors, as in a collection that another
machine filled. For exchanged neighbours it prints how much less similar they are, in fp32, than the tenth
nearest.
"""

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from embed import embed_batches, model_parser
from lookalike_core.images.sampling import draw_sample
from lookalike_core.models.embedder import Embedder
from lookalike_core.models.providers import openvino_pays
from lookalike_core.settings import ProviderChoice, Settings
from lookalike_exporter.export import ensure_exported
from lookalike_exporter.spec import ModelSpec
from machine import describe, write_results
from numpy.typing import NDArray
from precision import NEIGHBOURS, to_unit_length
from rounding import convert_to_bfloat16

Vectors = NDArray[np.float32]


def main() -> None:
    """Prints what differs between the vectors of fp32 and of bfloat16, and between their neighbours."""
    parser = model_parser(__doc__)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--json", type=Path, help="write the results here as well")
    arguments = parser.parse_args()
    print(describe())
    spec = ModelSpec.of(arguments.backbone, layer=arguments.layer, weights=str(arguments.weights))
    pixels = np.stack(list(draw_sample(arguments.photos, count=arguments.images)))
    with tempfile.TemporaryDirectory(prefix="lookalike-benchmark-") as folder:
        models = open_sessions(spec, Path(folder))
        expected = embed_all("fp32", models.pop("fp32"), pixels)
        results = {}
        for name, model in models.items():
            results[name] = differences(expected, embed_all(name, model, pixels))
            print(f"{name}: " + ", ".join(f"{key} {value:.6f}" for key, value in results[name].items()))
    network = f"{spec.backbone.title} {spec.layer}"
    write_results(arguments.json, {"network": network, "images": len(pixels), "differences": results})


def open_sessions(spec: ModelSpec, home: Path) -> dict[str, Embedder]:
    """Returns a session in fp32, the emulation, and the plugin where it computes in bfloat16."""
    settings = replace(Settings.from_environment(), home=home, provider=ProviderChoice.CPU)
    path = ensure_exported(spec, settings=settings).path
    emulated = home / "emulated.onnx"
    onnx.save_model(convert_to_bfloat16(onnx.load(path)), emulated)
    models = {
        "fp32": Embedder.load(path, provider=ProviderChoice.CPU),
        "emulated": Embedder.load(emulated, provider=ProviderChoice.CPU),
    }
    if openvino_pays():
        models["openvino"] = Embedder.load(path, provider=ProviderChoice.OPENVINO)
    return models


def embed_all(name: str, model: Embedder, pixels: NDArray[np.uint8]) -> Vectors:
    """Returns the vectors of all images, and prints how long they took."""
    started = time.perf_counter()
    vectors = embed_batches(model, pixels)
    print(f"{name} on {model.provider}: {len(vectors)} images in {time.perf_counter() - started:.0f} s")
    return vectors


def differences(expected: Vectors, found: Vectors) -> dict[str, float]:
    """Returns the cosines to fp32, the overlap of the ten nearest, and the similarity lost by exchanges."""
    here, there = to_unit_length(expected), to_unit_length(found)
    cosines = (here * there).sum(axis=1)
    similarity = here @ here.T
    nearest = neighbours(similarity)
    among, mixed = neighbours(there @ there.T), neighbours(there @ here.T)
    last = np.take_along_axis(similarity, nearest, axis=1).min(axis=1, keepdims=True)
    lost = last - np.take_along_axis(similarity, among, axis=1)
    return {
        "lowest cosine": float(cosines.min()),
        "mean cosine": float(cosines.mean()),
        "overlap": overlap(nearest, among),
        "overlap across": overlap(nearest, mixed),
        "largest loss of similarity": float(lost.max()),
    }


def neighbours(similarity: NDArray[np.float64]) -> NDArray[np.int64]:
    """Returns the columns of the nearest neighbours of each row, itself left out."""
    others = similarity.copy()
    np.fill_diagonal(others, -np.inf)
    return np.argsort(-others, axis=1, kind="stable")[:, :NEIGHBOURS]


def overlap(one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """Returns the share of the rows' entries that both have."""
    return sum(len(np.intersect1d(a, b)) for a, b in zip(one, other, strict=True)) / one.size


if __name__ == "__main__":
    main()
