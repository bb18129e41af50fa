"""Measures precision@10 of the ways to resize an image to 224 x 224, on a folder of labelled photos.

    python benchmarks/preprocessing.py PHOTOS MODEL.onnx [MODEL.onnx ...]

PHOTOS holds one folder for each class; the models are files printed by `exporter run`. A way is a shape
(the whole image squashed, or the shorter side scaled and the centre cropped) and a filter. Each photo is a
query and left out of its own answer; precision@10 is the share of its ten neighbours that are of its class,
averaged over all photos.
"""

import argparse
import io
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from lookalike_core.arrays import IMAGE_SIZE
from lookalike_core.models.embedder import BATCH_SIZE, Embedder
from PIL import Image, ImageOps

SIZE = (IMAGE_SIZE, IMAGE_SIZE)
Way = Callable[[Image.Image], Image.Image]

FILTERS = (
    Image.Resampling.NEAREST,
    Image.Resampling.BILINEAR,
    Image.Resampling.BICUBIC,
    Image.Resampling.LANCZOS,
    Image.Resampling.BOX,
)

WAYS: dict[str, Way] = {
    f"{shape}-{resampling.name.lower()}": partial(resize, resampling)
    for shape, resize in (
        ("squash", lambda resampling, image: image.resize(SIZE, resampling)),
        ("crop", lambda resampling, image: ImageOps.fit(image, SIZE, resampling)),
    )
    for resampling in FILTERS
}
"""Name -> shape and filter."""


def main() -> None:
    """Prints one row for each way, model and distance."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument(
        "--way", action="append", choices=list(WAYS), help="the only way to measure; may be repeated"
    )
    arguments = parser.parse_args()
    files = sorted(path for path in arguments.photos.glob("*/*") if path.is_file())
    classes = np.array([path.parent.name for path in files])
    print(f"{len(files)} photos, {len(set(classes))} classes")
    for path in arguments.models:
        model = Embedder.load(path)
        for name in arguments.way or WAYS:
            vectors = np.concatenate(list(embed(model, files, WAYS[name])))
            figures = [
                f"{distance} {precision_at_10(vectors, classes, distance):.4f}"
                for distance in ("cosine", "euclid")
            ]
            print(f"{model.manifest.identity.backbone:12} {name:18} {'  '.join(figures)}", flush=True)


def embed(model: Embedder, files: list[Path], way: Way) -> Iterator[np.ndarray]:
    """Yields the vectors of the files, batch by batch."""
    for start in range(0, len(files), BATCH_SIZE):
        batch = [
            way(ImageOps.exif_transpose(Image.open(io.BytesIO(path.read_bytes()))).convert("RGB"))
            for path in files[start : start + BATCH_SIZE]
        ]
        yield model.embed(np.stack([np.asarray(image) for image in batch]))


def precision_at_10(vectors: np.ndarray, classes: np.ndarray, distance: str) -> float:
    """Returns leave-one-out precision@10 over float32 `[N, D]`."""
    x = vectors.astype(np.float64)
    if distance == "cosine":
        x /= np.linalg.norm(x, axis=1, keepdims=True)
    squares = (x**2).sum(axis=1)
    apart = squares[:, None] + squares[None, :] - 2 * x @ x.T
    np.fill_diagonal(apart, np.inf)
    nearest = np.argsort(apart, axis=1, kind="stable")[:, :10]
    return float((classes[nearest] == classes[:, None]).mean())


if __name__ == "__main__":
    main()
