"""Measures what searching with a part of an image finds, and whether neighbours have it where it is located.

    python benchmarks/regions.py OBJECTS BACKGROUNDS --backbone vgg --weights FILE [--layer LAYER]
        [--side 0.5] [--seeds 1 2] [--collection NAME] [--store STORE] [--saved FOLDER]

OBJECTS is a folder with a folder of images for each class, BACKGROUNDS one with other classes. For each seed
20 images of each class of OBJECTS are reduced to `--side` of the width and height of a random background, in
their own proportions, and pasted at a random place. All such composites are searched with each of them, in
which the box of its object is the region; right is a composite with an object of the same class. The ways are
the whole image, those cells of the last feature map that the box covers (each by the part of it that is
covered), the crop embedded as an image of its own, and both together, as a search does it. The last column is
the part of the right ones among the ten nearest whose cell with the largest share has its centre in their
object's box. With a collection, which holds both folders, it is searched with each composite, too: for single
images of the object's class, without the object's own and the background. Intervals are a bootstrap over all
queries, and p is that of the paired sign-flip test. FOLDER keeps what was found of each seed, so that a run
can be made in parts.
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from lookalike_core.arrays import Pixels
from lookalike_core.images.decoding import decode_small, prepare_pixels
from lookalike_core.images.open_image import open_file
from lookalike_core.images.region import Box, Part, Region
from lookalike_core.images.resizing import resize
from lookalike_core.images.scan import FoundFile, scan
from lookalike_core.models.embedder import BATCH_SIZE, Embedder
from lookalike_core.neighbours.cosine import normalise_rows
from lookalike_core.settings import Settings
from lookalike_exporter.export import ensure_exported
from lookalike_exporter.spec import ModelSpec
from lookalike_search.analysis.attribution import share_among_cells
from lookalike_search.analysis.locating import find_cell_box
from lookalike_search.asking.part_features import combine_features
from lookalike_search.evaluation.bootstrap import Estimate, estimate
from lookalike_search.evaluation.comparisons import sign_flip_p
from machine import describe
from numpy.typing import NDArray

import lookalike

OF_EACH_CLASS = 20
LIMIT = 10
WHOLE = "whole image"
EDGE = 10_000
"""No image is reduced before it is pasted."""

Features = NDArray[np.float32]
Vectors = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Composite:
    """A background with an object of a class pasted into a box."""

    pixels: Pixels
    box: Box
    class_name: str
    made_of: tuple[str, str]

    @property
    def size(self) -> tuple[int, int]:
        """Its width and height."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def part(self) -> Part:
        """The box as a part of it."""
        return Part(box=self.box, width=self.size[0], height=self.size[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The precision@10 of each query, and whether the cell of each right neighbour is in its object."""

    precision: Vectors
    is_inside: Vectors | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    """The vectors of a collection with their classes and paths."""

    vectors: Vectors
    classes: NDArray[np.str_]
    paths: NDArray[np.str_]


class Network:
    """A model without its pooling; `ms` is what embedding one image took."""

    def __init__(self, spec: ModelSpec) -> None:
        settings = Settings.from_environment()
        model = ensure_exported(spec.unpooled, settings=settings)
        self._embedder = Embedder.from_settings(model.path, settings, expected=model.manifest)
        self._shape = spec.network.shape
        self.ms = 0.0

    def features(self, squares: Sequence[Pixels]) -> Features:
        """Returns the last feature maps, float32 `[N, H, W, C]`."""
        started = time.perf_counter()
        parts = [
            self._embedder.embed(squares[first : first + BATCH_SIZE])
            for first in range(0, len(squares), BATCH_SIZE)
        ]
        self.ms = 1000 * (time.perf_counter() - started) / len(squares)
        return np.concatenate(parts).reshape(len(squares), *self._shape)


def main() -> None:
    """Prints a row for each way and seed, and for all seeds together."""
    arguments = _parse()
    spec = ModelSpec.of(arguments.backbone, layer=arguments.layer, weights=arguments.weights)
    network = Network(spec)
    print(describe())
    indexed = _load(arguments.collection, arguments.store) if arguments.collection else None
    found: dict[tuple[str, str], list[Found]] = {}
    for seed in arguments.seeds:
        part = arguments.saved and arguments.saved / f"{spec.backbone.name}-{arguments.side:g}-{seed}.json"
        if part is not None and part.exists():
            results = _restore(part)
        else:
            composites = list(_compose(arguments.objects, arguments.backgrounds, arguments.side, seed))
            results = _search(composites, network, indexed)
            print(f"seed {seed}: {len(composites)} composites, {network.ms:.0f} ms for one image", flush=True)
            if part is not None:
                _save(part, results)
        for key, result in results.items():
            found.setdefault(key, []).append(result)
            _print_row(spec, arguments.side, f"{seed}", key, [result], found[key[0], WHOLE][-1:])
    for key, results in found.items():
        _print_row(spec, arguments.side, "all", key, results, found[key[0], WHOLE])


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("objects", type=Path)
    parser.add_argument("backgrounds", type=Path)
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--layer")
    parser.add_argument("--collection")
    parser.add_argument("--store")
    parser.add_argument("--saved", type=Path)
    parser.add_argument("--side", type=float, default=0.5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    return parser.parse_args()


def _save(file: Path, found: Mapping[tuple[str, str], Found]) -> None:
    rows = [
        {
            "key": key,
            "precision": each.precision.tolist(),
            "is_inside": None if each.is_inside is None else each.is_inside.tolist(),
        }
        for key, each in found.items()
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(rows), encoding="utf-8")


def _restore(file: Path) -> dict[tuple[str, str], Found]:
    rows = json.loads(file.read_text(encoding="utf-8"))
    return {
        (row["key"][0], row["key"][1]): Found(
            precision=np.array(row["precision"]),
            is_inside=None if row["is_inside"] is None else np.array(row["is_inside"]),
        )
        for row in rows
    }


def _compose(objects: Path, backgrounds: Path, side: float, seed: int) -> Iterator[Composite]:
    """Yields the composites of a seed, class by class."""
    random = np.random.default_rng(seed)
    of_class: dict[str, list[Path]] = {}
    for file in _list_files(objects):
        of_class.setdefault(file.parent.name, []).append(file)
    behind = iter(random.permutation(np.array(_list_files(backgrounds), dtype=object)))
    for name, files in of_class.items():
        for row in random.permutation(len(files))[:OF_EACH_CLASS]:
            ground = next(behind)
            back, thing = _read(ground), _read(files[row])
            (height, width), (high, wide) = back.shape[:2], thing.shape[:2]
            scale = side * min(width / wide, height / high)
            thing = resize(thing, max(1, round(scale * wide)), max(1, round(scale * high)))
            high, wide = thing.shape[:2]
            left, top = int(random.integers(width - wide + 1)), int(random.integers(height - high + 1))
            back[top : top + high, left : left + wide] = thing
            box = Box(left=left, top=top, width=wide, height=high)
            made_of = _short(files[row]), _short(ground)
            yield Composite(pixels=back, box=box, class_name=name, made_of=made_of)


def _list_files(folder: Path) -> list[Path]:
    return [found.file for found in scan(folder) if isinstance(found, FoundFile)]


def _short(file: Path) -> str:
    """Returns the path of an image below its dataset's folder."""
    return f"{file.parent.name}/{file.name}"


def _load(collection: str, store: str | None) -> Indexed:
    with lookalike.open(store, collection=collection) as index:
        points = index.points()
        vectors = normalise_rows(index.vectors()[1].astype(np.float64))
    return Indexed(
        vectors=vectors,
        classes=np.array([point.class_name or "" for point in points]),
        paths=np.array([point.path for point in points]),
    )


def _read(file: Path) -> Pixels:
    with open_file(file) as stream:
        return np.array(decode_small(stream, file.name, edge=EDGE))


def _search(
    composites: Sequence[Composite], network: Network, others: Indexed | None
) -> Mapping[tuple[str, str], Found]:
    whole = network.features([prepare_pixels(each.pixels, "composite").pixels for each in composites])
    crops = [
        prepare_pixels(each.pixels, "composite", region=Region.parse(str(each.box))).pixels
        for each in composites
    ]
    cropped = network.features(crops)
    indexed = _pool(whole)
    ways = {
        WHOLE: indexed,
        "cells": normalise_rows(np.array(list(map(_pool_cells, whole, composites)))),
        "crop": _pool(cropped),
        "crop and cells": normalise_rows(
            np.array(
                [
                    combine_features(crop, features, each.part).sum(axis=(0, 1))
                    for crop, features, each in zip(cropped, whole, composites, strict=True)
                ]
            )
        ),
    }
    found = {
        ("composites", way): _judge(vectors, indexed, whole, composites) for way, vectors in ways.items()
    }
    if others is not None:
        found |= {("images", way): _judge_among(vectors, others, composites) for way, vectors in ways.items()}
    return found


def _pool(features: Features) -> Vectors:
    return normalise_rows(features.mean(axis=(1, 2), dtype=np.float64))


def _pool_cells(features: Features, composite: Composite) -> Vectors:
    """Returns the mean of the cells that the box covers; of all cells where it is outside of the square."""
    weights = np.zeros(features.shape[:2])
    box, (width, height) = composite.box, composite.size
    for row, column in np.ndindex(weights.shape):
        x, y, wide, high = find_cell_box(weights, row, column, composite.size)
        left, right = x * width / 100, (x + wide) * width / 100
        top, bottom = y * height / 100, (y + high) * height / 100
        across = max(0.0, min(right, box.right) - max(left, box.left))
        down = max(0.0, min(bottom, box.bottom) - max(top, box.top))
        weights[row, column] = across * down
    if not weights.any():
        weights[:] = 1
    return np.asarray(np.tensordot(weights / weights.sum(), features.astype(np.float64), axes=2))


def _judge(vectors: Vectors, indexed: Vectors, features: Features, composites: Sequence[Composite]) -> Found:
    names = np.array([each.class_name for each in composites])
    similarities = vectors @ indexed.T
    np.fill_diagonal(similarities, -np.inf)
    nearest = np.argsort(-similarities, axis=1, kind="stable")[:, :LIMIT]
    is_right = names[nearest] == names[:, np.newaxis]
    is_inside = [
        _is_inside(vectors[query], features[row], indexed[row], composites[row])
        for query, rows in enumerate(nearest)
        for row in rows[is_right[query]]
    ]
    return Found(precision=is_right.mean(axis=1), is_inside=np.array(is_inside, dtype=np.float64))


def _judge_among(vectors: Vectors, others: Indexed, composites: Sequence[Composite]) -> Found:
    names = np.array([each.class_name for each in composites])
    similarities = vectors @ others.vectors.T
    for row, each in enumerate(composites):
        similarities[row, np.isin(others.paths, each.made_of)] = -np.inf
    nearest = np.argsort(-similarities, axis=1, kind="stable")[:, :LIMIT]
    return Found(precision=(others.classes[nearest] == names[:, np.newaxis]).mean(axis=1))


def _is_inside(vector: Vectors, features: Features, stored: Vectors, composite: Composite) -> bool:
    """Returns whether the centre of the cell with the largest share lies in the object's box."""
    shares = share_among_cells(vector.astype(np.float32), features, stored.astype(np.float32))
    row, column = np.unravel_index(shares.argmax(), shares.shape)
    x, y, wide, high = find_cell_box(shares, int(row), int(column), composite.size)
    across, down = (x + wide / 2) * composite.size[0] / 100, (y + high / 2) * composite.size[1] / 100
    box = composite.box
    return box.left <= across < box.right and box.top <= down < box.bottom


def _print_row(
    spec: ModelSpec,
    side: float,
    seed: str,
    key: tuple[str, str],
    found: Sequence[Found],
    whole: Sequence[Found],
) -> None:
    precision, base = (np.concatenate([each.precision for each in some]) for some in (found, whole))
    inside = [each.is_inside for each in found if each.is_inside is not None]
    located = f"{np.concatenate(inside).mean():.1%}" if inside else "-"
    print(
        f"| {spec.backbone.title} | {side:g} | {seed} | {' | '.join(key)} | {_shown(estimate(precision))} | "
        f"{_shown(estimate(precision - base))} | {sign_flip_p(base, precision):.4f} | {located} |",
        flush=True,
    )


def _shown(found: Estimate) -> str:
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"


if __name__ == "__main__":
    main()
