"""Measures what vectors give away with fewer principal values, and what that costs their neighbours.

    python benchmarks/privacy.py --backbone vgg [--backbone resnet] [--store STORE] [--seeds 3] \
        [--principal 256 --principal 64 ...] [--recognised 100] [--json FILE]

The attack is that of `search privacy`, on the vectors of a collection without a head, and on what heads of
`exporter fit --principal D` make of them, fitted to four fifths of the images by their hashes alone. Each
seed holds other images out of the attackers' training; a figure is the mean over all seeds' images, its
interval a bootstrap over them, and p that of the paired sign-flip test against the full vectors. Precision@10
and mAP are those of the fifth that no head was fitted to, whose images search among all others. What the
network recognises is measured for seed 0, in unseen images.
"""

import argparse
import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from lookalike_core.arrays import IMAGE_SIZE
from lookalike_core.images.decoding import MAX_PIXELS
from lookalike_core.images.resizing import resize
from lookalike_core.models.embedder import BATCH_SIZE, Embedder
from lookalike_core.neighbours.brute_force import row_blocks
from lookalike_core.neighbours.cosine import normalise_rows
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.open_store import open_store
from lookalike_exporter.heads.held_out import HELD_OUT, seeded_hash
from lookalike_exporter.heads.principal import fit_principal
from lookalike_exporter.model_resolver import get_model
from lookalike_search.analysis.inversion import Attacker, FloatMatrix, ImageArray
from lookalike_search.analysis.inversion_attack import AttackedImages, AttackResult, Group, IntVector, attack
from lookalike_search.analysis.privacy import LIMIT, ClassVote, SampledVectors, _read_images, sample_vectors
from lookalike_search.collection_choice import CollectionSelector
from lookalike_search.evaluation.bootstrap import Estimate, estimate
from lookalike_search.evaluation.comparisons import sign_flip_p
from lookalike_search.evaluation.labelled_vectors import LabelledVectors
from lookalike_search.evaluation.leave_one_out import leave_one_out
from lookalike_search.evaluation.summary import values_of
from machine import describe, write_results
from numpy.typing import NDArray

VALUES = (256, 128, 64, 32, 16)
FULL = 0

Values = Mapping[str, NDArray[np.float64]]


def main() -> None:
    """Prints the tables of each network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", action="append", required=True)
    parser.add_argument("--store")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--principal", type=int, action="append")
    parser.add_argument("--recognised", type=int, default=100)
    parser.add_argument("--limit", type=int, default=LIMIT)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    print(describe())
    results = {}
    for backbone in arguments.backbone:
        network = Network.load(backbone, arguments.store, arguments.limit)
        results[backbone] = lines = [_head()]
        full = None
        for values in (FULL, *(arguments.principal or VALUES)):
            started = time.perf_counter()
            case = network.measure(values, range(arguments.seeds), arguments.recognised)
            full = full or case
            print(f"{backbone}, {case.name}: {time.perf_counter() - started:.0f} s")
            lines += [_row(case, full), *_details(case)]
            print(*lines[-8:], sep="\n", flush=True)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GB")
    write_results(arguments.json, {"rows": results})


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Vectors of so many principal values, or full ones: the attacks of all seeds, and the neighbours."""

    name: str
    attacks: Sequence[AttackResult]
    neighbours: Values

    def of_each(self, attacker: Attacker | None, group: Group, figure: str) -> NDArray[np.float64]:
        """Returns a figure of each image, over all seeds."""
        rows = [
            row
            for each in self.attacks
            for row in each.rows
            if (row.attacker, row.group) == (attacker, group)
        ]
        return np.concatenate([getattr(row, figure) for row in rows])

    def recognised(self, attacker: Attacker | None, group: Group) -> Estimate | None:
        """Returns how often the network recognises the class, in seed 0."""
        return next(
            row.recognised for row in self.attacks[0].rows if (row.attacker, row.group) == (attacker, group)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A collection's vectors, images and hashes, and its network."""

    attacked: AttackedImages
    sha256: Sequence[str]
    embedder: "CachedEmbedder"

    @classmethod
    def load(cls, backbone: str, store_name: str | None, limit: int) -> "Network":
        """Reads the collection of a backbone, by cosine."""
        settings = Settings.from_environment()
        selector = CollectionSelector(backbone=backbone, distance=Distance.COSINE)
        store = open_store(store_name, settings)
        with store.open(selector.resolve_one(store, settings=settings)) as collection:
            sampled = sample_vectors(collection, limit=limit, seed=0)
        store.close()
        images, rows, _ = _read_images(sampled, MAX_PIXELS)
        payloads = [sampled.payloads[row] for row in rows.tolist()]
        attacked = AttackedImages(
            vectors=normalise_rows(sampled.vectors[rows]),
            images=images,
            classes=[payload.class_name for payload in payloads],
        )
        return cls(
            attacked=attacked,
            sha256=[payload.sha256 for payload in payloads],
            embedder=CachedEmbedder(sampled, settings),
        )

    def measure(self, values: int, seeds: Sequence[int], recognised: int) -> Case:
        """Attacks the vectors, and measures their neighbours."""
        order = sorted(range(len(self.sha256)), key=lambda row: seeded_hash(self.sha256[row], 0))
        held_out = np.array(sorted(order[len(order) - round(HELD_OUT * len(order)) :]))
        units = self.attacked.vectors.astype(np.float64)
        head = fit_principal(np.delete(units, held_out, axis=0), values) if values else None

        def apply(vectors: FloatMatrix) -> NDArray[np.float32]:
            exact = normalise_rows(vectors.astype(np.float64))
            return (head.apply(exact) if head else exact).astype(np.float32)

        attacked = replace(self.attacked, vectors=apply(self.attacked.vectors))
        votes = ClassVote(attacked, distance=Distance.COSINE)

        def recognise(images: ImageArray, rows: IntVector) -> list[str | None]:
            return votes.classify(apply(self.embedder.embed(images)), rows)

        attacks = [
            attack(
                attacked,
                seed=seed,
                recognise=recognise if recognised and seed == 0 else None,
                recognised=recognised,
                recognised_groups=(Group.UNSEEN, Group.REDUCED),
            )
            for seed in seeds
        ]
        return Case(
            name=f"{values} values" if values else f"all {attacked.vectors.shape[1]} values",
            attacks=attacks,
            neighbours=_measure_neighbours(attacked, held_out),
        )


class CachedEmbedder:
    """Embeds small images by the collection's network, each once."""

    def __init__(self, sampled: SampledVectors, settings: Settings) -> None:
        model = get_model(sampled.manifest, settings=settings)
        self._embedder = Embedder.from_settings(model.path, settings, expected=model.manifest)
        self._known: dict[bytes, NDArray[np.float32]] = {}

    def embed(self, images: ImageArray) -> NDArray[np.float32]:
        """Returns float32 `[N, D]` for uint8 `[N, 32, 32, 3]`."""
        new = [image for image in images if image.tobytes() not in self._known]
        for rows in row_blocks(len(new), BATCH_SIZE):
            part = [new[row] for row in rows.tolist()]
            vectors = self._embedder.embed([resize(image, IMAGE_SIZE, IMAGE_SIZE) for image in part])
            self._known |= {image.tobytes(): vector for image, vector in zip(part, vectors, strict=True)}
        return np.array([self._known[image.tobytes()] for image in images])


def _measure_neighbours(attacked: AttackedImages, queries: NDArray[np.int64]) -> Values:
    """Returns the figures of these queries among all other images."""
    names, classes = np.unique([name or "" for name in attacked.classes], return_inverse=True)
    vectors = LabelledVectors(
        vectors=attacked.vectors,
        classes=classes,
        copies=np.arange(len(classes)),
        names=names.tolist(),
        higher_is_nearer=True,
    )
    found = values_of(leave_one_out(vectors), classes)
    return {key: found[key][queries] for key in ("precision_at_10", "mean_average_precision")}


def _head() -> str:
    figures = [
        f"{attacker}: {figure}" for attacker in Attacker for figure in ("first", "first ten", "recognised")
    ]
    shown = [f"{Group.NEAREST}: first", "first ten"]
    return f"| {' | '.join(['vectors', 'precision@10', 'mAP', *figures, *shown])} |"


def _row(case: Case, full: Case) -> str:
    """Returns the figures of unseen images as a row of a table."""
    cells = [
        _compared(case.neighbours[key], full.neighbours[key], scale=1)
        for key in ("precision_at_10", "mean_average_precision")
    ]
    for attacker, group in (*((each, Group.UNSEEN) for each in Attacker), (None, Group.NEAREST)):
        cells += [
            _compared(case.of_each(attacker, group, key), full.of_each(attacker, group, key), scale=100)
            for key in ("first_of_each", "in_ten_of_each")
        ]
        if attacker is not None:
            cells.append(_shown(case.recognised(attacker, group), 100))
    return f"| {case.name} | {' | '.join(cells)} |"


def _details(case: Case) -> Iterator[str]:
    """Yields the figures of each group, the asymmetry in seed 0, and how often originals are recognised."""
    yield f"{case.name}, originals recognised at 32 x 32: {_shown(case.recognised(None, Group.REDUCED), 100)}"
    for asymmetry in case.attacks[0].asymmetries:
        difference = _shown(asymmetry.difference, 100)
        yield f"{case.name}, {asymmetry.attacker}, trained less unseen: {difference}, p {asymmetry.p:.4f}"
    for attacker in Attacker:
        for key in ("first", "in_ten"):
            groups = (Group.TRAINED, Group.UNSEEN, Group.UNSEEN_CLASSES)
            means = (estimate(case.of_each(attacker, group, f"{key}_of_each")) for group in groups)
            shown = (f"{group} {_shown(mean, 100)}" for group, mean in zip(groups, means, strict=True))
            yield f"{case.name}, {attacker}, {key}: {', '.join(shown)}"


def _compared(values: NDArray[np.float64], full: NDArray[np.float64], *, scale: int) -> str:
    """Returns a mean with its interval, and p against the full vectors, where these are others."""
    shown = _shown(estimate(values), scale)
    return (
        shown
        if values is full or np.array_equal(values, full)
        else f"{shown}, p {sign_flip_p(full, values):.4f}"
    )


def _shown(found: Estimate | None, scale: int) -> str:
    if found is None:
        return "-"
    digits = 1 if scale > 1 else 3
    value, low, high = (f"{scale * each:.{digits}f}" for each in (found.value, found.low, found.high))
    return f"{value} ({low} to {high})"


if __name__ == "__main__":
    main()
