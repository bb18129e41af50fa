"""Measures what heads without labels do to neighbours: Local Aggregation and principal values.

    python benchmarks/local_aggregation.py [--store STORE] [--seeds 5] [--more DATASET] [--few DATASET]
        [--table gain|clusters|ablation|principal] [--parts FOLDER] COLLECTION

The collection holds two datasets of labelled images: many classes (`--more`) and few (`--few`). For each
seed a fifth of all images is held out; these are queries among all other images, training images included,
as in real use. "Never fitted" fits to four fifths of half of the classes, and all images of the other
classes are queries; or it fits to `--more`, and all images of `--few` are queries among each other.
`gain` compares with the vectors alone and with centring, principal values and whitening fitted to the same
images; of several numbers of values the one with the best mAP on these very queries is shown. An image that
is a query for several seeds counts once, by its mean; intervals are a bootstrap over images, and p is that
of the paired sign-flip test. `--parts` keeps the figures of every seed, so that a run can be continued.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from lookalike_core.neighbours.brute_force import top_k
from lookalike_core.neighbours.cosine import normalise_rows
from lookalike_core.neighbours.precision import average_precision, precision_at
from lookalike_core.settings import Settings
from lookalike_core.stores.open_store import open_store
from lookalike_exporter.heads.local_aggregation import (
    IMAGES_IN_CLUSTER,
    choose_aggregation,
    fit_local_aggregation,
)
from lookalike_search.evaluation.bootstrap import Estimate, estimate
from lookalike_search.evaluation.comparisons import sign_flip_p
from lookalike_search.evaluation.labelled_vectors import load_labelled
from machine import describe
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
VALUES = (16, 32, 64, 128, 256, 512)
HELD_OUT = 0.2
K = 10
OURS = "Local Aggregation"
RAW = "the vectors alone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """A collection's images: unit vectors float64 `[N, D]`, class numbers, and names of datasets."""

    vectors: FloatArray
    classes: IntArray
    datasets: NDArray[np.str_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The rows to fit to, the rows that are queries, and the rows that are searched."""

    name: str
    fitted: IntArray
    asking: IntArray
    searched: IntArray


Maps = Mapping[str, FloatArray]
"""Method -> an array by it."""

Methods = Callable[[FloatArray, IntArray, int], Iterator[tuple[str, FloatArray]]]
"""Gives all images' vectors by each method, fitted to some rows with a seed."""


def main() -> None:
    """Prints the lines of one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("collection")
    parser.add_argument("--store")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--more", default="photos-more")
    parser.add_argument("--few", default="photos")
    parser.add_argument("--table", choices=TABLES, default="gain")
    parser.add_argument("--case", default="", help="only cases whose name has this in it")
    parser.add_argument("--parts", type=Path, default=None)
    arguments = parser.parse_args()
    images = load(arguments.collection, arguments.store)
    print(describe(), arguments.collection, arguments.table, flush=True)
    method_vectors = remember(TABLES[arguments.table], images.vectors)
    found: dict[str, dict[str, dict[int, list[list[float]]]]] = {}
    for seed in range(arguments.seeds):
        for case in cases(images, seed, more=arguments.more, few=arguments.few):
            is_new = case.name.startswith("new")
            if arguments.case not in case.name or (arguments.table in NEW_ONLY and not is_new):
                continue
            part = f"{arguments.collection}-{arguments.table}-{seed}-{case.name}.npz"
            file = arguments.parts / part if arguments.parts else None
            by_method = found.setdefault(case.name, defaultdict(lambda: defaultdict(list)))
            for method, figures in measure_case(images, case, method_vectors, seed, file).items():
                for row, each in zip(case.asking.tolist(), figures.tolist(), strict=True):
                    by_method[method][row].append(each)
    for name, by_method in found.items():
        print_rows(name, {method: by_image(parts) for method, parts in by_method.items()}, arguments.table)


def remember(methods: Methods, vectors: FloatArray) -> Callable[[IntArray, int], Mapping[str, FloatArray]]:
    """Returns the methods' vectors by the rows that they are fitted to, fitted once for several cases."""
    last: dict[bytes, Maps] = {}

    def fit(fitted: IntArray, seed: int) -> Maps:
        key = fitted.tobytes()
        if key not in last:
            if len(last) > 1:
                last.clear()
            last[key] = dict(methods(vectors, fitted, seed))
        return last[key]

    return fit


def load(name: str, store_name: str | None) -> Images:
    """Reads the images of a collection."""
    store = open_store(store_name, Settings.from_environment())
    with store.open(name) as collection:
        images = load_labelled(collection)
    store.close()
    _, first = np.unique(images.vectors.copies, return_index=True)
    return Images(
        vectors=normalise_rows(images.vectors.vectors[first].astype(np.float64)),
        classes=images.vectors.classes[first],
        datasets=np.array([images.payloads[row].dataset for row in first]),
    )


def cases(images: Images, seed: int, *, more: str, few: str) -> Iterator[Case]:
    """Yields what is fitted and asked for a seed."""
    for name, own in (("more", images.datasets == more), ("few", images.datasets == few), ("all", None)):
        rows = np.arange(len(images.classes)) if own is None else np.flatnonzero(own)
        fitted, asking = split(rows, seed)
        yield Case(name=f"new: {name}", fitted=fitted, asking=asking, searched=rows)
        if name == "more":
            classes = np.random.default_rng(seed).permutation(np.unique(images.classes[rows]))
            half = np.isin(images.classes, classes[: len(classes) // 2])
            yield Case(
                name="never fitted: other half",
                fitted=fitted[half[fitted]],
                asking=rows[~half[rows]],
                searched=rows,
            )
            others = np.flatnonzero(images.datasets == few)
            yield Case(name="never fitted: few", fitted=fitted, asking=others, searched=others)


def split(rows: IntArray, seed: int) -> tuple[IntArray, IntArray]:
    """Returns four fifths to fit to, and a fifth to ask."""
    order = np.random.default_rng(seed).permutation(rows)
    count = round(HELD_OUT * len(order))
    return np.sort(order[count:]), np.sort(order[:count])


def compare_all(vectors: FloatArray, fitted: IntArray, seed: int) -> Iterator[tuple[str, FloatArray]]:
    """Yields all images' vectors by each method that is fitted to the same images."""
    yield RAW, vectors
    yield OURS, fit_local_aggregation(vectors[fitted], seed=seed).apply(vectors)
    yield "centred", vectors - vectors[fitted].mean(axis=0)
    yield from principal(vectors, fitted, seed)
    mean = vectors[fitted].mean(axis=0)
    _, sizes, axes = np.linalg.svd(vectors[fitted] - mean, full_matrices=False)
    for values in VALUES:
        if values < min(len(fitted), vectors.shape[1]):
            yield f"whitened {values}", (vectors - mean) @ (axes[:values].T / sizes[:values])


def principal(vectors: FloatArray, fitted: IntArray, seed: int) -> Iterator[tuple[str, FloatArray]]:  # noqa: ARG001
    """Yields all images' principal values, of several numbers of values."""
    mean = vectors[fitted].mean(axis=0)
    axes = np.linalg.svd(vectors[fitted] - mean, full_matrices=False)[2]
    for values in VALUES:
        if values <= min(len(fitted) - 1, vectors.shape[1]):
            yield f"principal {values}", (vectors - mean) @ axes[:values].T


def principal_beside_raw(
    vectors: FloatArray, fitted: IntArray, seed: int
) -> Iterator[tuple[str, FloatArray]]:
    """Yields the vectors alone, and the principal values."""
    yield RAW, vectors
    yield from principal(vectors, fitted, seed)


def vary_clusters(vectors: FloatArray, fitted: IntArray, seed: int) -> Iterator[tuple[str, FloatArray]]:
    """Yields Local Aggregation with other numbers of clusters than the rule's."""
    yield RAW, vectors
    ours = choose_aggregation(len(fitted), vectors.shape[1])
    for images in (50, IMAGES_IN_CLUSTER, 12):
        chosen = replace(ours, clusters=max(2, round(len(fitted) / images)))
        layer = fit_local_aggregation(vectors[fitted], seed=seed, aggregation=chosen)
        yield f"N / {images} = {chosen.clusters} clusters", layer.apply(vectors)


def ablate(vectors: FloatArray, fitted: IntArray, seed: int) -> Iterator[tuple[str, FloatArray]]:
    """Yields Local Aggregation as it is, and with each of its parts replaced."""
    yield RAW, vectors
    ours = choose_aggregation(len(fitted), vectors.shape[1])
    for name, chosen, pull in (
        (OURS, ours, 1.0),
        ("H = 1 clustering", replace(ours, clusterings=1), 1.0),
        ("B = all images", replace(ours, neighbours=None), 1.0),
        ("C not within B", replace(ours, is_within_background=False), 1.0),
        ("128 values", replace(ours, values=128), 1.0),
        ("pull 2", ours, 2.0),
    ):
        layer = fit_local_aggregation(vectors[fitted], seed=seed, aggregation=chosen, pull=pull)
        yield name, layer.apply(vectors)


TABLES: Mapping[str, Methods] = {
    "gain": compare_all,
    "clusters": vary_clusters,
    "ablation": ablate,
    "principal": principal_beside_raw,
}

NEW_ONLY = ("clusters", "principal")
"""Tables of new images alone."""


def measure_case(
    images: Images, case: Case, fit: Callable[[IntArray, int], Maps], seed: int, file: Path | None
) -> Maps:
    """Returns the figures of the queries by method, float64 `[Q, 2]`; those in the file, if it is there."""
    if file and file.exists():
        with np.load(file) as kept:
            return dict(kept)
    found = {
        method: measure(vectors, images.classes, case) for method, vectors in fit(case.fitted, seed).items()
    }
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, **found)
    return found


def measure(vectors: FloatArray, classes: IntArray, case: Case) -> FloatArray:
    """Returns each query's precision@10 and average precision among the other images, float64 `[Q, 2]`."""
    units = normalise_rows(vectors)
    similarity = units[case.asking] @ units[case.searched].T
    similarity[case.asking[:, np.newaxis] == case.searched] = -np.inf
    same = classes[case.asking][:, np.newaxis] == classes[case.searched]
    same &= np.isfinite(similarity)
    nearest, _ = top_k(similarity, K)
    precision = precision_at(K, np.take_along_axis(same, nearest, axis=1), same.sum(axis=1))
    return np.stack([precision, average_precision(similarity, same)], axis=1)


def by_image(parts: Mapping[int, list[list[float]]]) -> FloatArray:
    """Returns each query's two figures, float64 `[Q, 2]`, the means over the seeds that drew it."""
    return np.array([np.mean(each, axis=0) for _, each in sorted(parts.items())])


def print_rows(case: str, found: Mapping[str, FloatArray], table: str) -> None:
    """Prints a row for each method; of principal values and whitening only the best in the table of gains."""
    if table == "gain":
        best = {
            kind: max(
                (name for name in found if name.startswith(kind)), key=lambda name: found[name][:, 1].mean()
            )
            for kind in ("principal", "whitened")
        }
        found = {name: found[name] for name in (RAW, "centred", *best.values(), OURS)}
    against = found[OURS] if table == "gain" else found[RAW]
    for name, own in found.items():
        cells = []
        for column in range(2):
            one, other = (own, against) if table == "gain" else (against, own)
            gain = estimate(other[:, column] - one[:, column])
            p = sign_flip_p(one[:, column], other[:, column])
            cells += [
                _shown(estimate(own[:, column])),
                f"{gain.value:+.4f} ({gain.low:+.4f} to {gain.high:+.4f})",
                f"{p:.4f}",
            ]
        print(f"| {case} | {name} | {len(own)} | {' | '.join(cells)} |", flush=True)


def _shown(found: Estimate) -> str:
    return f"{found.value:.4f} ({found.low:.4f} to {found.high:.4f})"


if __name__ == "__main__":
    main()
