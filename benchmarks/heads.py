"""Measures what a fitted head does to neighbours of classes that it was trained on, and of others.

    python benchmarks/heads.py [--store STORE] [--seeds 5] COLLECTION [COLLECTION ...]

There is one collection for each network, with the same images. For each seed a fifth of every class is held
out as queries; they search among all other images, training images included, as in real use. `unseen`
trains on four fifths of half of the classes, and all images of the other classes are queries. An image that
is a query for several seeds counts once, by its mean; intervals are a bootstrap over images, and p is that
of the paired sign-flip test.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from lookalike_core.neighbours.cosine import normalise_rows
from lookalike_core.neighbours.rank_fusion import FusionRule
from lookalike_core.settings import Settings
from lookalike_core.stores.open_store import open_store
from lookalike_exporter.heads.metric_learning import FittedLayer, fit_layer
from lookalike_exporter.heads.neighbour_figures import LabelledUnits
from lookalike_search.evaluation.bootstrap import Estimate, estimate
from lookalike_search.evaluation.comparisons import sign_flip_p
from lookalike_search.evaluation.labelled_vectors import LabelledVectors, load_labelled
from lookalike_search.evaluation.leave_one_out import leave_one_out
from lookalike_search.evaluation.summary import values_of
from machine import describe
from numpy.typing import NDArray

SIZES = (5, 10, 20, 50, 80)
ASKING = 0.2
FIGURES = {
    "precision_at_10": "precision@10",
    "precision_at_1": "1-NN",
    "mean_average_precision": "mAP",
}

Values = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The rows that a head is trained on, and the rows that are queries."""

    name: str
    training: NDArray[np.int64]
    asking: NDArray[np.int64]


def main() -> None:
    """Prints a table of every case, network and figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("collections", nargs="+")
    parser.add_argument("--store")
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    networks = _loaded(arguments.collections, arguments.store)
    print(describe())
    before = _values(networks, arguments.collections)
    found: dict[tuple[str, str], list[tuple[NDArray[np.int64], Values]]] = defaultdict(list)
    for seed in range(arguments.seeds):
        for case in _cases(networks[0].classes, seed):
            started = time.perf_counter()
            layers = [_fitted(network, case, seed) for network in networks]
            chosen = ", ".join(f"{layer.candidate.method} {layer.candidate.pull:g}" for layer in layers)
            print(f"seed {seed}, {case.name}: {chosen}, {time.perf_counter() - started:.1f} s", flush=True)
            headed = [_headed(network, layer) for network, layer in zip(networks, layers, strict=True)]
            for name, values in _values(headed, arguments.collections).items():
                found[case.name, name].append((case.asking, values))
    for (case_name, name), parts in found.items():
        _print_rows(case_name, name, before, parts)


def _loaded(names: Sequence[str], store_name: str | None) -> list[LabelledVectors]:
    store = open_store(store_name, Settings.from_environment())
    networks = []
    for name in names:
        with store.open(name) as collection:
            networks.append(load_labelled(collection).vectors)
    store.close()
    return networks


def _cases(classes: NDArray[np.int64], seed: int) -> Iterator[Case]:
    random = np.random.default_rng(seed)
    orders = [random.permutation(np.flatnonzero(classes == number)) for number in np.unique(classes)]
    asks = [order[: round(ASKING * len(order))] for order in orders]
    rest = [order[round(ASKING * len(order)) :] for order in orders]
    for size in SIZES:
        yield Case(
            name=f"{size} a class",
            training=np.concatenate([order[:size] for order in rest]),
            asking=np.concatenate(asks),
        )
    halves = random.permutation(len(orders))
    seen, unseen = halves[: len(orders) // 2], halves[len(orders) // 2 :]
    training = np.concatenate([rest[number] for number in seen])
    yield Case(name="seen half", training=training, asking=np.concatenate([asks[number] for number in seen]))
    yield Case(
        name="unseen half", training=training, asking=np.concatenate([orders[number] for number in unseen])
    )


def _fitted(network: LabelledVectors, case: Case, seed: int) -> FittedLayer:
    vectors = network.vectors.astype(np.float64)
    units = LabelledUnits(vectors=normalise_rows(vectors), classes=network.classes)
    return fit_layer(units.of(np.sort(case.training)), seed=seed)


def _headed(network: LabelledVectors, layer: FittedLayer) -> LabelledVectors:
    return replace(network, vectors=normalise_rows(network.vectors) @ layer.weight.T + layer.bias)


def _values(networks: Sequence[LabelledVectors], names: Sequence[str]) -> dict[str, Values]:
    """Returns every image's figures, for each network and for all fused."""
    classes = networks[0].classes
    found = {
        name: values_of(leave_one_out(each), classes) for name, each in zip(names, networks, strict=True)
    }
    if len(networks) > 1:
        found["both"] = values_of(leave_one_out(*networks, rule=FusionRule.RRF), classes)
    return found


def _print_rows(
    case: str, name: str, before: Mapping[str, Values], parts: Sequence[tuple[NDArray[np.int64], Values]]
) -> None:
    for key, title in FIGURES.items():
        one = _by_image(key, [(asking, before[name]) for asking, _ in parts])
        other = _by_image(key, parts)
        gain = estimate(other - one)
        print(
            f"| {case} | {name} | {title} | {len(one)} | "
            f"{_shown(estimate(one))} | {_shown(estimate(other))} | "
            f"{gain.value:+.4f} ({gain.low:+.4f} to {gain.high:+.4f}) | {sign_flip_p(one, other):.4f} |",
            flush=True,
        )


def _by_image(key: str, parts: Sequence[tuple[NDArray[np.int64], Values]]) -> NDArray[np.float64]:
    """Returns the mean of each query's figure over the seeds that drew it."""
    asked: dict[int, list[float]] = defaultdict(list)
    for asking, values in parts:
        for row in asking.tolist():
            asked[row].append(float(values[key][row]))
    return np.array([np.mean(each) for _, each in sorted(asked.items())])


def _shown(found: Estimate) -> str:
    return f"{found.value:.4f} ({found.low:.4f} to {found.high:.4f})"


if __name__ == "__main__":
    main()
