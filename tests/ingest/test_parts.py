"""Parts of a dataset: which files they have, and that all of them together make what one run makes."""

import shutil
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lookalike_core.arrays import FloatVector
from lookalike_core.errors import StoreError, UsageError
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.points import Payload, point_id
from lookalike_core.stores.protocol import Store
from lookalike_exporter.spec import ModelSpec
from lookalike_ingest.dataset_rules import RuleChoice
from lookalike_ingest.parts import MAX_PARTS, Part
from lookalike_ingest.report import IngestReport
from lookalike_ingest.request import Dataset, IngestRequest, StopRequest
from lookalike_ingest.run import run_ingest
from lookalike_ingest.subset import Subset
from lookalike_ingest.target import WrittenTarget
from made_collections import STORES, store_of

TOTAL = 3
PARTS = tuple(Part(number=number, total=TOTAL) for number in range(1, TOTAL + 1))
PATHS = [f"{folder}/{number}.png" for folder in "abc" for number in range(5)]
VECTOR_TOLERANCE = 1e-6


@pytest.mark.parametrize(
    "text", ["", "1", "1/", "/2", "0/4", "5/4", "-1/4", "1/0", "1.5/4", "1 / 4", "٣/4", "a/b"]
)
def test_a_malformed_part_is_refused(text: str) -> None:
    """So is one that does not exist."""
    with pytest.raises(UsageError, match="part"):
        Part.parse(text)


def test_a_part_is_written_as_it_is_given() -> None:
    """Parts are numbered from 1 on."""
    assert Part.parse("2/8") == Part(number=2, total=8)
    assert str(Part(number=2, total=8)) == "2/8"
    with pytest.raises(UsageError, match=f"at most {MAX_PARTS}"):
        Part.parse(f"1/{MAX_PARTS + 1}")


def test_which_parts_there_are_is_said() -> None:
    """Job arrays count from 0, and limits of a script change apart from the total."""
    for text, reason in (
        ("5/4", "the first of 4 is 1/4, the last 4/4"),
        ("0/4", "the first of 4 is 1/4, the last 4/4"),
        ("1/0", "there is at least one part, 1/1"),
    ):
        with pytest.raises(UsageError) as caught:
            Part.parse(text)
        assert str(caught.value) == f"there is no part {text}: {reason}"


def test_each_file_belongs_to_one_part_and_parts_have_about_the_same_size() -> None:
    """Whatever their number is."""
    paths = [f"class {number % 10}/{number}.jpg" for number in range(3000)]
    for total in (1, 2, 7, 64):
        parts = [Part(number=number, total=total) for number in range(1, total + 1)]
        holders = [[part.number for part in parts if part.holds("data", path)] for path in paths]
        assert all(len(each) == 1 for each in holders)
        sizes = np.bincount([each for [each] in holders], minlength=total + 1)[1:]
        assert (np.abs(sizes - 3000 / total) <= 5 * np.sqrt(3000 / total)).all()


def test_the_hash_of_a_path_is_a_contract() -> None:
    """Other programs may compute it, and a repeated job has the same parts with any later version."""
    assert point_id("data", "a/1.png") == "25b41f11-646a-5e28-8994-aa0dfd97138f"
    hashed = 0x25B41F11646A
    for total in (2, 3, 64, 1000):
        assert Part(number=hashed * total // 2**48 + 1, total=total).holds("data", "a/1.png")


def test_a_path_in_any_unicode_form_belongs_to_the_same_part() -> None:
    """Machines may see the same folder in different forms; names that are no Unicode have a part, too."""
    for number in range(20):
        composed = f"é/{number}.png"
        forms = (composed, unicodedata.normalize("NFD", composed))
        assert len({part for part in PARTS for form in forms if part.holds("data", form)}) == 1
    assert sum(part.holds("data", "\udcff.png") for part in PARTS) == 1


def test_points_of_a_part_are_between_two_ids() -> None:
    """So that a server can be asked for them alone."""
    ids = [point_id("data", f"{number}.jpg") for number in range(500)]
    for total in (1, 3, 10):
        for number in range(1, total + 1):
            part = Part(number=number, total=total)
            between = [i for i in ids if part.first_id <= i and (part.end_id is None or i < part.end_id)]
            assert between == [each for each in ids if part.owns(each)]
    assert (Part(number=1, total=3).first_id, Part(number=3, total=3).end_id) == (
        "00000000-0000-0000-0000-000000000000",
        None,
    )


@dataclass(kw_only=True)
class Place:
    """A folder, and a store that it is ingested into, as a whole or by parts."""

    root: Path
    store: Store
    home: Settings
    spec: ModelSpec

    def run(self, part: Part | None = None, **options: Any) -> IngestReport:
        """Ingests the folder."""
        request = IngestRequest(
            dataset=Dataset(name="data", root=self.root),
            specs=[self.spec],
            distances=[Distance.COSINE],
            part=part,
            batch_size=2,
            **options,
        )
        return run_ingest(request, store=self.store, settings=self.home, stop=StopRequest())

    def run_parts(self, *parts: Part, **options: Any) -> dict[str, int]:
        """Ingests parts one after the other; returns the sums of what was done."""
        counts: dict[str, int] = {}
        for part in parts or PARTS:
            for word, count in self.run(part, **options).collections[0].counts.items():
                counts[word] = counts.get(word, 0) + count
        return {word: count for word, count in counts.items() if count}

    def count(self, **options: Any) -> dict[str, int]:
        """Ingests the whole folder; returns what was done."""
        done = self.run(**options).collections[0].counts
        return {word: count for word, count in done.items() if count}

    def stored(self) -> dict[str, tuple[Payload, FloatVector]]:
        """Returns all points by path, without when and from where they came."""
        [name] = self.store.names()
        with self.store.open(name) as collection:
            payloads = list(collection.scan())
            vectors = collection.vectors([payload.id for payload in payloads])
        return {
            payload.path: (replace(payload, ingested_at="", moved_from=None), vectors[payload.id])
            for payload in payloads
        }


@pytest.fixture(params=STORES)
def place(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    home: Settings,
    tiny_spec: ModelSpec,
    draw: Callable[..., list[Path]],
) -> Iterator[Place]:
    """Draws fifteen images, of which two are the same."""
    draw(tmp_path / "data", *PATHS)
    shutil.copy(tmp_path / "data" / "a/0.png", tmp_path / "data" / "b/0.png")
    with store_of(request.param, home.qdrant_dir) as store:
        before = set(store.names())
        yield Place(root=tmp_path / "data", store=store, home=home, spec=tiny_spec)
        for name in set(store.names()) - before:
            store.delete(name)


@pytest.fixture
def as_one(place: Place, tmp_path: Path) -> Callable[..., dict[str, tuple[Payload, FloatVector]]]:
    """Returns a function that ingests the folder at once, elsewhere, and returns the points."""

    def ingest(**options: Any) -> dict[str, tuple[Payload, FloatVector]]:
        with store_of("embedded", tmp_path / "as one") as store:
            one = replace(place, store=store)
            one.run(**options)
            return one.stored()

    return ingest


def assert_same(
    one: dict[str, tuple[Payload, FloatVector]], other: dict[str, tuple[Payload, FloatVector]]
) -> None:
    """Checks that points are the same."""
    assert one.keys() == other.keys()
    for path, (payload, vector) in one.items():
        assert payload == other[path][0]
        np.testing.assert_allclose(vector, other[path][1], rtol=0, atol=VECTOR_TOLERANCE)


def of_part(part: Part) -> list[str]:
    """Returns the paths of a part."""
    return [path for path in PATHS if part.holds("data", path)]


def test_all_parts_make_what_one_run_makes(
    place: Place, as_one: Callable[..., dict[str, tuple[Payload, FloatVector]]]
) -> None:
    """Each counts its own files alone, and a complete run finds everything unchanged."""
    for part in PARTS:
        report = place.run(part)
        assert (report.found, report.not_taken, report.part) == (len(of_part(part)), 0, part)
        assert report.collections[0].counts["added"] == len(of_part(part))
    assert place.run_parts() == place.count() == {"unchanged": len(PATHS)}
    assert_same(place.stored(), as_one())


def test_a_part_removes_only_its_own_points(place: Place) -> None:
    """Files of others are not looked at, whether they are there or not."""
    place.run_parts()
    gone = [of_part(part)[0] for part in PARTS[:2]]
    for path in gone:
        (place.root / path).unlink()
    first, second, third = PARTS
    assert place.run(third, prune=True).collections[0].removed == []
    assert place.run(first, prune=True).collections[0].removed == gone[:1]
    assert place.stored().keys() == set(PATHS) - set(gone[:1])
    assert place.run(second, prune=True).collections[0].removed == gone[1:]
    assert place.count(prune=True) == {"unchanged": len(PATHS) - 2}


def test_a_part_without_files_removes_its_points(place: Place) -> None:
    """The folder is not empty: other parts have files in it."""
    place.run_parts()
    for path in of_part(PARTS[0]):
        (place.root / path).unlink()
    report = place.run(PARTS[0], prune=True)
    assert (report.found, report.collections[0].removed) == (0, of_part(PARTS[0]))


def test_points_wait_in_parts_for_the_time_to_prune_after(place: Place) -> None:
    """Each part records since when its own files are missing."""
    place.run_parts()
    missing = of_part(PARTS[1])[0]
    (place.root / missing).unlink()
    reports = [place.run(part, prune_after=timedelta(days=1)) for part in PARTS]
    assert [report.collections[0].waiting for report in reports] == [0, 1, 0]
    assert place.stored()[missing][0].missing_since is not None


@pytest.mark.parametrize("order", [PARTS, PARTS[::-1]], ids=["forward", "backward"])
def test_files_move_from_part_to_part(
    place: Place, order: tuple[Part, ...], as_one: Callable[..., dict[str, tuple[Payload, FloatVector]]]
) -> None:
    """The part that finds a file under its new path takes the vector, and removes the old point."""
    place.run_parts()
    (place.root / "new").mkdir()
    for number, path in enumerate(PATHS[1:5]):
        (place.root / path).replace(place.root / "new" / f"{number}.png")
    shutil.copy(place.root / "new/0.png", place.root / "c/copy.png")
    assert place.run_parts(*order) == {"unchanged": len(PATHS) - 4, "moved": 4, "added": 1}
    assert_same(place.stored(), as_one())
    assert place.count() == {"unchanged": len(PATHS) + 1}


def test_a_moved_file_whose_point_was_pruned_before_is_embedded_again(
    place: Place, as_one: Callable[..., dict[str, tuple[Payload, FloatVector]]]
) -> None:
    """With pruning, the part that has the old path may be first; the points are the same."""
    place.run_parts()
    (place.root / "a/1.png").replace(place.root / "a/moved.png")
    old = next(part for part in PARTS if part.holds("data", "a/1.png"))
    others = [part for part in PARTS if part is not old]
    place.run_parts(old, *others, prune=True)
    assert_same(place.stored(), as_one())


def test_excluded_images_are_removed_by_their_parts(
    place: Place, as_one: Callable[..., dict[str, tuple[Payload, FloatVector]]]
) -> None:
    """Every part must be given the same rules; they are remembered."""
    place.run_parts()
    rules = RuleChoice(exclude=["a/"])
    assert place.run_parts(rules=rules)["excluded"] == 5
    assert_same(place.stored(), as_one(rules=rules))


def test_a_part_that_failed_is_repeated(
    place: Place,
    as_one: Callable[..., dict[str, tuple[Payload, FloatVector]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it has written stays, and others may go on meanwhile."""
    write = WrittenTarget._write  # noqa: SLF001 - where the process ends
    calls = iter(range(100))

    def fail_later(self: WrittenTarget, *words: Any) -> None:
        if next(calls):
            raise StoreError("the process was killed")
        write(self, *words)

    with monkeypatch.context() as killed:
        killed.setattr(WrittenTarget, "_write", fail_later)
        with pytest.raises(StoreError, match="killed"):
            place.run(PARTS[0])
    place.run_parts(*PARTS[1:])
    assert len(place.stored()) == len(PATHS) - len(of_part(PARTS[0])) + 2
    assert place.run(PARTS[0]).collections[0].counts["unchanged"] == 2
    assert_same(place.stored(), as_one())


def test_parts_of_a_random_sample_are_that_sample(
    place: Place, as_one: Callable[..., dict[str, tuple[Payload, FloatVector]]]
) -> None:
    """It is drawn of the whole folder, by the same seed for each part."""
    subset = Subset(max_per_class=2, seed=3)
    assert place.run_parts(subset=subset) == {"added": 6}
    assert_same(place.stored(), as_one(subset=subset))


def test_a_dry_run_of_a_part_says_what_the_part_will_do(place: Place) -> None:
    """It stores nothing."""
    place.run_parts(PARTS[0])
    (place.root / of_part(PARTS[0])[0]).unlink()
    for part in PARTS:
        said = place.run(part, dry_run=True, prune=True).collections[0].counts
        assert said == place.run(part, prune=True).collections[0].counts


def test_rows_of_a_label_table_are_counted_by_the_part_of_their_path(place: Place) -> None:
    """A row for an image of another part is not unused."""
    labels: dict[str, str | None] = dict.fromkeys([*PATHS, "none/1.png", "none/2.png"], "odd")
    reports = [place.run(part, labels=labels) for part in PARTS]
    assert sum(report.unused_labels for report in reports) == 2
    assert {payload.class_name for payload, _ in place.stored().values()} == {"odd"}


def test_a_name_in_another_unicode_form_keeps_its_point(
    place: Place, draw: Callable[..., list[Path]]
) -> None:
    """Its file and its point may belong to two parts: neither removes the point of a file that is there."""
    names = [unicodedata.normalize("NFD", f"é{number}.png") for number in range(6)]
    draw(place.root, *names)
    place.run_parts(prune=True)
    assert place.run_parts(prune=True) == {"unchanged": len(PATHS) + len(names)}
    for name in names:
        (place.root / name).unlink()
    assert place.run_parts(prune=True) == {"unchanged": len(PATHS), "removed": len(names)}
