"""Measures queries of an open collection of `million.py`: time and recall, with and without filters."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from filters import taken_at
from lookalike_core.stores.points import EVERYTHING, PointFilter, SearchHit
from lookalike_core.stores.protocol import Collection
from million_collection import Place, numbered_clusters
from numpy.typing import NDArray
from store import CLUSTERS, LEFT_OUT, NEIGHBOURS, TIE, WARM_UP, Clusters

PARTS = (2, 20, 200, 2_000)
"""One point of so many is selected: 50, 5, 0.5 and 0.05 %."""

FURTHER = 4
"""Times as many other queries follow the first ones. The last are warm: by then what they read is mapped."""

A_CLASS = 7
_QUERIES_KEY, _FURTHER_KEY = 2**32, 2**32 + 1  # no chunk has these numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A filter, and the ranks or the class that it selects."""

    name: str
    where: PointFilter
    from_rank: int = 0
    cluster: int | None = None


def measure_warm(place: Place, queries: int) -> dict[str, object]:
    """Returns times and recall of queries without a filter: the first, warm ones, and few exact ones."""
    vectors, tenth = _draw_queries(place, queries), _load_tenths(place, queries)["all"]
    case = Case(name="all", where=EVERYTHING)
    with place.store.open(place.collection) as collection:
        first = _search(collection, vectors, tenth, case)
        took_ms = _warm_up(collection, place, queries)
        few = max(WARM_UP, queries // 20)
        exact = _search(collection, vectors[:few], tenth[:few], case, exact=True)
    return {**_percentiles(took_ms[-queries:]), "recall": first["recall"], "first": first, "exact": exact}


def measure_filtered(place: Place, queries: int) -> dict[str, object]:
    """Returns times and recall by filter, of a fifth of the queries."""
    few = max(WARM_UP, queries // 5)
    vectors, tenth = _draw_queries(place, queries)[:few], _load_tenths(place, queries)
    with place.store.open(place.collection) as collection:
        _warm_up(collection, place, queries)
        return {
            case.name: _search(collection, vectors, tenth[case.name][:few], case)
            for case in list_cases(place)
            if case.name != "all"
        }


def list_cases(place: Place) -> list[Case]:
    """Returns no filter, then every filter."""
    of_class = PointFilter(classes=frozenset({f"class{A_CLASS:03}"}))
    cases = [Case(name="all", where=EVERYTHING), Case(name="a class", where=of_class, cluster=A_CLASS)]
    for part in PARTS:
        first = place.points - max(1, place.points // part)
        where = PointFilter(since=taken_at(first))
        cases.append(Case(name=f"{100 / part:g} %", where=where, from_rank=first))
    return cases


def find_tenths(place: Place, queries: int) -> None:
    """Writes the similarity of the tenth neighbour by numpy, float64 `[Q]` for each case, unless it is there.

    Vectors are drawn again, a chunk at a time, so that they are never in memory as a whole.
    """
    if _tenths_file(place, queries).exists():
        return
    clusters, cases = Clusters.of(place.dimension), list_cases(place)
    units = _unit(_draw_queries(place, queries))
    ranks = np.random.default_rng(0).permutation(place.points)
    best = {case.name: np.full((queries, NEIGHBOURS), -np.inf) for case in cases}
    for chunk, (start, numbers) in enumerate(numbered_clusters(place)):
        similarity = units @ _unit(clusters.draw(len(numbers), chunk)).T
        for case in cases:
            selected = ranks[start : start + len(numbers)] >= case.from_rank
            if case.cluster is not None:
                selected &= numbers == case.cluster
            if selected.any():
                together = np.hstack([best[case.name], similarity[:, selected]])
                best[case.name] = -np.partition(-together, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
    np.savez(_tenths_file(place, queries), **{name: scores.min(axis=1) for name, scores in best.items()})


def _load_tenths(place: Place, queries: int) -> Mapping[str, NDArray[np.float64]]:
    with np.load(_tenths_file(place, queries)) as found:
        return dict(found)


def _tenths_file(place: Place, queries: int) -> Path:
    return place.base / f"tenths-{place.points}x{place.dimension}-{queries}.npz"


def _draw_queries(place: Place, queries: int) -> NDArray[np.float32]:
    return Clusters.of(place.dimension).draw(queries, _QUERIES_KEY)


def _search(
    collection: Collection,
    vectors: NDArray[np.float32],
    tenth: NDArray[np.float64],
    case: Case,
    *,
    exact: bool = False,
) -> dict[str, float]:
    """Queries by each vector once, after some to warm up; `tenth` are the similarities of a perfect tenth."""
    earliest = taken_at(case.from_rank)
    for vector in vectors[:WARM_UP]:
        _time(collection, vector, case.where, exact=exact)
    took_ms, shares = [], []
    for vector, limit in zip(vectors, tenth, strict=True):
        hits, milliseconds = _time(collection, vector, case.where, exact=exact)
        took_ms.append(milliseconds)
        if any((hit.payload.taken_at or "") < earliest for hit in hits):
            raise RuntimeError("a hit is not selected by the filter")
        shares.append(sum(hit.score >= limit - TIE for hit in hits) / NEIGHBOURS)
    return {**_percentiles(took_ms), "recall": round(float(np.mean(shares)), 4)}


def _warm_up(collection: Collection, place: Place, queries: int) -> list[float]:
    """Queries `FURTHER` times as often by other vectors; returns the milliseconds of each."""
    vectors = Clusters.of(place.dimension).draw(FURTHER * queries, _FURTHER_KEY)
    return [_time(collection, vector, EVERYTHING)[1] for vector in vectors]


def _time(
    collection: Collection, vector: NDArray[np.float32], where: PointFilter, *, exact: bool = False
) -> tuple[list[SearchHit], float]:
    """Returns the hits of one query, one image left out, and its milliseconds."""
    selected = replace(where, excluded_sha256=LEFT_OUT.excluded_sha256)
    started = time.perf_counter()
    hits = collection.query(vector, limit=NEIGHBOURS, where=selected, exact=exact)
    return hits, (time.perf_counter() - started) * 1000


def _percentiles(took_ms: list[float]) -> dict[str, float]:
    p50, p99 = np.percentile(took_ms, [50, 99])
    return {"p50_ms": round(float(p50), 2), "p99_ms": round(float(p99), 2)}


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths: NDArray[np.float32] = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / lengths


assert CLUSTERS > A_CLASS  # noqa: S101 - or no point has the class
