"""Many copies of one image: what each costs to decide does not grow with their number."""

import random
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lookalike_core.stores import protocol
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.points import Payload
from lookalike_ingest.changes import Change, Decision, KnownPoints
from lookalike_ingest.known_payloads import Stamp
from lookalike_ingest.payload_cache import PayloadCache
from lookalike_ingest.payload_lookups import PayloadLookups
from made_collections import manifest_of, point_of

BATCH = 16
FEW, MANY = 80, 320
HASHES = [letter * 64 for letter in "abc"]


def payload(path: str, sha256: str = HASHES[0], dataset: str = "data") -> Payload:
    """Returns the payload of an image."""
    made = point_of(path, [1, 0, 0, 0], dataset=dataset, sha256=sha256).payload
    return replace(made, taken_at="2025-12-31T00:00:00+00:00")


@contextmanager
def collection_of(payloads: Sequence[Payload], folder: Path) -> Iterator[protocol.Collection]:
    """Yields a real collection with these payloads."""
    store, manifest = EmbeddedStore(folder), manifest_of(Distance.COSINE, 4)
    store.create(manifest)
    with store.open(manifest.collection) as collection:
        points = [point_of(each.path, [1, 0, 0, 0]) for each in payloads]
        collection.upsert([replace(one, payload=each) for one, each in zip(points, payloads, strict=True)])
        yield collection


class Steps:
    """Counts the steps of SQLite's own machine, of which each row that is read takes several."""

    def __init__(self, *databases: sqlite3.Connection) -> None:
        self.count = 0
        for database in databases:
            database.set_progress_handler(self._count, 10)

    def _count(self) -> int:
        self.count += 1
        return 0


def count_steps(kind: str, copies: int, folder: Path, case: str) -> int:
    """Returns the steps of deciding about so many copies of one image, in batches."""
    old = [payload(f"old/{n:04}.jpg") for n in range(copies)] if case != "new" else []
    with collection_of(old or [payload("other.jpg", HASHES[1])], folder) as collection:
        lookups = PayloadLookups(lambda: collection) if kind == "lookups" else None
        payloads = lookups or PayloadCache.of(old)
        databases = (
            [lookups._written._database, lookups._marks._database]  # noqa: SLF001
            if lookups is not None
            else [payloads._database]  # type: ignore[union-attr]  # noqa: SLF001
        )
        known = KnownPoints("data", payloads)
        known.payloads.prefetch_bytes(HASHES)
        steps = Steps(*databases)
        if case == "further":
            for each in old:
                known.see(each.path)
        for start in range(0, copies, BATCH):
            decisions = []
            for n in range(start, min(start + BATCH, copies)):
                name, sha256 = f"new/{n:04}.jpg", HASHES[0]
                if case == "overwritten":
                    name, sha256 = f"old/{n:04}.jpg", HASHES[1]
                known.has_bytes(sha256)
                decision = known.decide_by_bytes(payload(name, sha256), is_gone=lambda _: case == "moved")
                known.expect(decision)
                decisions.append(decision)
            expected = {
                "new": {Change.ADDED},
                "further": {Change.ADDED},
                "moved": {Change.MOVED},
                "overwritten": {Change.UPDATED},
            }
            assert {decision.change for decision in decisions} == expected[case]
            known.settle(decisions, decisions)
        payloads.close()
    return steps.count


@pytest.mark.parametrize("case", ["new", "further", "moved", "overwritten"])
@pytest.mark.parametrize("kind", ["cache", "lookups"])
def test_a_further_copy_costs_what_the_first_ones_cost(kind: str, case: str, tmp_path: Path) -> None:
    """Four times as many copies take four times the steps, not sixteen: new ones, moved ones and others."""
    few = count_steps(kind, FEW, tmp_path / "few", case)
    many = count_steps(kind, MANY, tmp_path / "many", case)
    assert many < 1.6 * (MANY / FEW) * few


class PlainPayloads:
    """Payloads in a dictionary, looked through for each answer."""

    hashed_at_once = 0

    def __init__(self, payloads: Sequence[Payload]) -> None:
        self._by_path = {each.sort_key: each for each in payloads}
        self._seen: set[tuple[str, str]] = set()

    def see(self, dataset: str, paths: Sequence[str]) -> dict[str, Stamp]:
        """See `KnownPayloads`, as for all here."""
        found = [path for path in paths if (dataset, path) in self._by_path]
        self._seen.update((dataset, path) for path in found)
        return {path: Stamp.of(self._by_path[dataset, path]) for path in found}

    def mark_seen(self, dataset: str, path: str, *, seen: bool = True) -> None:
        """Marks a path."""
        (self._seen.add if seen else self._seen.discard)((dataset, path))

    def prefetch_bytes(self, hashes: Collection[str]) -> None:
        """Does nothing."""

    def find(self, dataset: str, path: str) -> Payload | None:
        """Returns a payload."""
        return self._by_path.get((dataset, path))

    def find_bytes(self, sha256: str) -> Iterator[Payload]:
        """Yields payloads in order."""
        return (each for _, each in sorted(self._by_path.items()) if each.sha256 == sha256)

    def find_unseen_bytes(self, dataset: str, sha256: str) -> Iterator[Payload]:
        """Yields those that were not seen."""
        twins = self.find_bytes(sha256)
        return (each for each in twins if each.dataset == dataset and each.sort_key not in self._seen)

    def has_bytes(self, sha256: str) -> bool:
        """Returns whether there is one."""
        return any(self.find_bytes(sha256))

    def put(self, payload: Payload) -> None:
        """Replaces a payload."""
        self._by_path[payload.sort_key] = payload

    def drop(self, payload: Payload) -> None:
        """Removes a payload."""
        self._by_path.pop(payload.sort_key, None)


def take_steps(
    chance: random.Random, names: Sequence[str], gone: Collection[str], all_known: Sequence[KnownPoints]
) -> set[Change]:
    """Takes ten random steps with each, then settles what was decided; returns the decided changes."""
    pending: list[Decision] = []
    for _ in range(10):
        path, sha256, kind = chance.choice(names), chance.choice(HASHES), chance.random()
        if kind < 0.65:
            read = payload(path, sha256)
            first, *others = [one.decide_by_bytes(read, is_gone=gone.__contains__) for one in all_known]
            assert others == [first] * len(others)
            pending.append(first)
            for one in all_known:
                one.expect(first)
        elif kind < 0.9:
            paths = chance.sample(names, 5)
            assert len({tuple(sorted(one.payloads.see("data", paths))) for one in all_known}) == 1
        elif kind < 0.95:
            for one in all_known:
                one.see(path, seen=False)
        assert len({one.has_bytes(sha256) for one in all_known}) == 1
    done = chance.sample(pending, chance.randint(0, len(pending)))
    for one in all_known:
        one.settle(pending, [each for each in pending if each in done])
    return {decision.change for decision in pending}


@pytest.mark.parametrize("seed", range(6))
def test_decisions_are_those_of_a_plain_list(seed: int, tmp_path: Path) -> None:
    """Whatever is seen, decided, written, given up and found missing in between, and in which order."""
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    names = [f"{folder}/{n:02}.jpg" for folder in ("a", "b", "ü") for n in range(14)]
    stored = [
        payload(name, chance.choice(HASHES), dataset)
        for dataset in ("data", "data ", "eve")
        for name in chance.sample(names, 24)
    ]
    gone = set(chance.sample(names, len(names) // 2))
    with collection_of(stored, tmp_path / "store") as collection:
        all_payloads: list[Any] = [
            PlainPayloads(stored),
            PayloadCache.of(stored),
            PayloadLookups(lambda: collection),
        ]
        all_known = [KnownPoints("data", each) for each in all_payloads]
        for each in all_payloads:
            each.prefetch_bytes(HASHES)
        met = {change for _ in range(20) for change in take_steps(chance, names, gone, all_known)}
        assert met >= {Change.ADDED, Change.MOVED, Change.UPDATED}
        for each in all_payloads[1:]:
            each.close()
