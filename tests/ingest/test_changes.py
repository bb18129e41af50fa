"""Decisions about files, made without files and without a store."""

from dataclasses import replace
from pathlib import Path

import pytest
from lookalike_core.images.scan import FoundFile
from lookalike_core.stores.points import Payload
from lookalike_ingest.changes import Change, Decision, KnownPoints
from lookalike_ingest.labels import Label
from lookalike_ingest.payload_cache import PayloadCache

STORED = Payload(
    dataset="data",
    path="cat/1.jpg",
    class_name="cat",
    sha256="a" * 64,
    width=640,
    height=480,
    bytes=1000,
    mtime_ns=111,
    ingested_at="2026-01-01T00:00:00+00:00",
    taken_at="2025-12-31T00:00:00+00:00",
)
UNSEEN_SIZE = {"width": 0, "height": 0}
"""The size of an image that was hashed but not decoded, because its bytes are known."""


def known(*payloads: Payload) -> KnownPoints:
    """Returns the points of a collection, for the dataset `data`."""
    return KnownPoints.of("data", payloads)


def found(
    path: str = "cat/1.jpg", *, size: int = 1000, mtime_ns: int = 111, ctime_ns: int = 111
) -> FoundFile:
    """Returns a file as a scan finds it."""
    return FoundFile(path=path, root=Path("/data"), bytes=size, mtime_ns=mtime_ns, ctime_ns=ctime_ns)


def read(path: str = "cat/1.jpg", *, sha256: str = "a" * 64, class_name: str | None = "cat") -> Payload:
    """Returns the payload of a file that is read a year later."""
    return replace(
        STORED,
        path=path,
        sha256=sha256,
        class_name=class_name,
        mtime_ns=222,
        ingested_at="2027-01-01T00:00:00+00:00",
    )


def decide_by_stat(
    holds: KnownPoints, file: FoundFile, class_name: str | None = "cat", synset: str | None = None
) -> Decision | None:
    """Returns the decision about one file by its size and times."""
    [decision] = holds.decide_by_stat([(file, Label(class_name=class_name, synset=synset))])
    return decision


def decide(holds: KnownPoints, payload: Payload, *, gone: tuple[str, ...] = ()) -> Decision:
    """Returns the decision about a file that was read; the files of `gone` paths do not exist."""
    return holds.decide_by_bytes(payload, is_gone=lambda path: path in gone)


def test_the_same_size_and_time_need_no_reading() -> None:
    """An unchanged folder is not read."""
    assert decide_by_stat(known(STORED), found(), "cat") == Decision(change=Change.UNCHANGED)


def test_a_file_that_is_back_is_not_missing_any_more() -> None:
    """Its payload alone is written, whether it is the same by its times or by its bytes."""
    holds = known(replace(STORED, missing_since="2026-01-02T00:00:00+00:00"))
    assert decide_by_stat(holds, found()) == Decision(
        change=Change.UNCHANGED, payload=STORED, payload_only=True
    )
    by_bytes = decide(holds, read())
    assert (by_bytes.change, by_bytes.payload_only) == (Change.UNCHANGED, True)
    assert by_bytes.payload is not None
    assert by_bytes.payload.missing_since is None


def test_another_ctime_needs_reading() -> None:
    """Programs cannot set it, unlike mtime; points of older versions have none to compare."""
    stored = known(replace(STORED, ctime_ns=111))
    assert decide_by_stat(stored, found(ctime_ns=111), "cat") == Decision(change=Change.UNCHANGED)
    assert decide_by_stat(stored, found(ctime_ns=112), "cat") is None
    assert decide_by_stat(known(STORED), found(ctime_ns=112), "cat") == Decision(change=Change.UNCHANGED)


def test_a_point_of_an_older_version_is_read_again_for_its_time() -> None:
    """The file has the same bytes, so that only the payload is written, and it counts as unchanged."""
    old = replace(STORED, taken_at=None)
    assert decide_by_stat(known(old), found(), "cat") is None
    assert decide(known(old), STORED) == Decision(change=Change.UNCHANGED, payload=STORED, payload_only=True)
    assert decide(known(old), replace(STORED, class_name="dog")) == Decision(
        change=Change.UPDATED, payload=replace(STORED, class_name="dog"), payload_only=True
    )


def test_rehash_reads_every_file() -> None:
    """A file with the same bytes and times counts as unchanged and is not written."""
    holds = KnownPoints("data", PayloadCache.of([STORED]), rehash=True)
    assert decide_by_stat(holds, found(), "cat") is None
    assert holds.find_vanished() == []
    same = replace(STORED, ingested_at="2027-01-01T00:00:00+00:00")
    assert decide(holds, same) == Decision(change=Change.UNCHANGED)


@pytest.mark.parametrize(
    "file",
    [found("cat/2.jpg"), found(size=1001), found(mtime_ns=112), found(mtime_ns=110)],
    ids=["new-path", "other-size", "newer", "older"],
)
def test_another_path_size_or_time_needs_reading(file: FoundFile) -> None:
    """A file restored from a backup may be older and still differ."""
    assert decide_by_stat(known(STORED), file, "cat") is None


def test_a_path_of_another_dataset_is_another_file() -> None:
    """Two folders may hold files of the same names."""
    assert decide_by_stat(known(replace(STORED, dataset="other")), found(), "cat") is None


@pytest.mark.parametrize("class_name", ["dog", None])
def test_another_class_updates_only_the_payload(class_name: str | None) -> None:
    """New labels need neither reading nor embedding."""
    decision = decide_by_stat(known(STORED), found(), class_name)
    assert decision == Decision(
        change=Change.UPDATED,
        payload=replace(STORED, class_name=class_name),
        payload_only=True,
    )
    assert not decision.writes_vector
    assert not decision.embeds


@pytest.mark.parametrize("synset", ["n02123045", None])
def test_another_synset_updates_only_the_payload(synset: str | None) -> None:
    """This holds for a file that was read, too; the same synset changes nothing."""
    stored = replace(STORED, synset="n02121620")
    assert decide_by_stat(known(stored), found(), "cat", "n02121620") == Decision(change=Change.UNCHANGED)
    told = replace(stored, synset=synset)
    unread = decide_by_stat(known(stored), found(), "cat", synset)
    assert unread == Decision(change=Change.UPDATED, payload=told, payload_only=True)
    decision = decide(known(stored), replace(read(), synset=synset))
    assert decision == Decision(change=Change.UPDATED, payload=replace(told, mtime_ns=222), payload_only=True)


def test_a_new_time_only_refreshes_the_payload() -> None:
    """The file counts as unchanged; `ingested_at` stays, and the next run need not read it."""
    decision = decide(known(STORED), replace(read(), **UNSEEN_SIZE))
    assert decision == Decision(
        change=Change.UNCHANGED, payload=replace(STORED, mtime_ns=222), payload_only=True
    )
    assert not decision.embeds


def test_a_new_time_and_another_class_are_one_update_of_the_payload() -> None:
    """It counts as updated, because users see the class."""
    decision = decide(known(STORED), replace(read(class_name="dog"), **UNSEEN_SIZE))
    fresh = replace(STORED, class_name="dog", mtime_ns=222)
    assert decision == Decision(change=Change.UPDATED, payload=fresh, payload_only=True)


def test_unknown_bytes_under_a_new_path_are_added() -> None:
    """In a first run this holds for all files."""
    payload = read("cat/2.jpg", sha256="b" * 64)
    decision = decide(known(STORED), payload)
    assert decision == Decision(change=Change.ADDED, payload=payload)
    assert decision.embeds


def test_unknown_bytes_under_a_known_path_are_an_update() -> None:
    """The image is embedded again, under the same id."""
    payload = read(sha256="b" * 64)
    decision = decide(known(STORED), payload)
    assert decision == Decision(change=Change.UPDATED, payload=payload)
    assert decision.embeds
    assert payload.id == STORED.id


def test_known_bytes_whose_old_path_is_gone_are_a_move() -> None:
    """The vector and the image size are copied, because the file was not decoded."""
    decision = decide(known(STORED), replace(read("dog/1.jpg"), **UNSEEN_SIZE), gone=("cat/1.jpg",))
    assert decision == Decision(
        change=Change.MOVED,
        payload=replace(read("dog/1.jpg"), moved_from="cat/1.jpg"),
        vector_of=STORED,
        replaces=STORED,
    )
    assert decision.writes_vector
    assert not decision.embeds


def test_known_bytes_whose_old_path_exists_are_a_copy() -> None:
    """It is added with the same vector."""
    decision = decide(known(STORED), replace(read("dog/1.jpg"), **UNSEEN_SIZE))
    assert decision == Decision(change=Change.ADDED, payload=read("dog/1.jpg"), vector_of=STORED)
    assert not decision.embeds


def test_bytes_known_from_another_dataset_are_a_copy() -> None:
    """Whether the file of the other dataset is gone does not matter."""
    other = replace(STORED, dataset="other")
    decision = decide(known(other), read("dog/1.jpg"), gone=("cat/1.jpg",))
    assert decision == Decision(change=Change.ADDED, payload=read("dog/1.jpg"), vector_of=other)


def test_a_file_overwritten_with_a_copy_is_an_update_without_embedding() -> None:
    """The vector of the original is copied."""
    two = replace(STORED, path="cat/2.jpg", sha256="b" * 64)
    decision = decide(known(STORED, two), replace(read(sha256="b" * 64), **UNSEEN_SIZE))
    assert decision == Decision(change=Change.UPDATED, payload=read(sha256="b" * 64), vector_of=two)
    assert not decision.embeds


def test_a_file_moved_onto_another_one_replaces_its_old_point() -> None:
    """It is an update of one path, and the point of the other one is removed as with any move."""
    two = replace(STORED, path="cat/2.jpg", sha256="b" * 64)
    decision = decide(known(STORED, two), read(sha256="b" * 64), gone=("cat/2.jpg",))
    assert decision == Decision(
        change=Change.UPDATED,
        payload=replace(read(sha256="b" * 64), moved_from="cat/2.jpg"),
        vector_of=two,
        replaces=two,
    )


def test_of_several_copies_the_one_that_is_gone_was_moved() -> None:
    """The order of the stored points does not matter."""
    twin = replace(STORED, path="cat/2.jpg")
    for holds in (known(STORED, twin), known(twin, STORED)):
        decision = decide(holds, read("cat/3.jpg"), gone=("cat/2.jpg",))
        assert (decision.change, decision.replaces) == (Change.MOVED, twin)


def test_a_moved_file_and_its_copy_are_one_move_and_one_addition() -> None:
    """A point is moved once; the second file copies the vector from the new point, already written or not."""
    holds = known(STORED)
    moved = decide(holds, read("cat/2.jpg"), gone=("cat/1.jpg",))
    assert (moved.change, moved.replaces) == (Change.MOVED, STORED)
    holds.expect(moved)
    for is_written in (False, True):
        if is_written:
            holds.settle([moved], [moved])
        copied = decide(holds, read("cat/3.jpg"), gone=("cat/1.jpg",))
        assert (copied.change, copied.replaces) == (Change.ADDED, None)
        assert copied.vector_of == moved.payload


def test_overwritten_bytes_are_not_known_any_more() -> None:
    """From the decision on, a copy is embedded again, because the stored vector will be replaced."""
    holds = known(STORED)
    updated = decide(holds, read(sha256="b" * 64))
    holds.expect(updated)
    for is_written in (False, True):
        if is_written:
            holds.settle([updated], [updated])
        assert not holds.has_bytes("a" * 64)
        assert holds.has_bytes("b" * 64)
        assert decide(holds, read("cat/2.jpg")).embeds


def test_a_decision_that_was_not_carried_out_changes_nothing() -> None:
    """The point keeps its old bytes, and a copy of the new ones is embedded."""
    holds = known(STORED)
    updated = decide(holds, read(sha256="b" * 64))
    holds.expect(updated)
    assert decide(holds, read("cat/2.jpg", sha256="b" * 64)).vector_of == updated.payload
    holds.settle([updated], [])
    assert holds.has_bytes("a" * 64)
    assert not holds.has_bytes("b" * 64)
    assert decide(holds, read("cat/2.jpg", sha256="b" * 64)).embeds
    assert holds.payloads.find("data", STORED.path) == STORED


def test_the_payload_cache_changes_when_a_decision_is_settled() -> None:
    """Until then, the new point is not in the collection."""
    holds = known()
    added = decide(holds, read())
    holds.expect(added)
    assert holds.payloads.find("data", "cat/1.jpg") is None
    holds.settle([added], [added])
    assert holds.payloads.find("data", "cat/1.jpg") == added.payload
    assert holds.find_vanished() == []


def test_bytes_are_known_as_long_as_one_point_has_them() -> None:
    """One of two copies is removed."""
    twin = replace(STORED, path="cat/2.jpg")
    holds = known(STORED, twin)
    holds.remove(STORED)
    assert holds.has_bytes("a" * 64)
    holds.remove(twin)
    assert not holds.has_bytes("a" * 64)


def test_looking_up_unknown_bytes_changes_nothing() -> None:
    """Other threads look up bytes while decisions are made."""
    holds = known(STORED)
    assert not holds.has_bytes("b" * 64)
    assert holds.find_vanished() == [STORED]


def test_points_without_a_seen_file_have_vanished() -> None:
    """Only points of this dataset count; files of others were not looked for."""
    two = replace(STORED, path="cat/2.jpg")
    other = replace(STORED, dataset="other", path="cat/3.jpg")
    holds = known(STORED, two, other)
    holds.see("cat/1.jpg")
    assert holds.find_vanished() == [two]


def test_points_in_unread_folders_have_not_vanished() -> None:
    """A disk that is not mounted must not empty a collection; only whole folder names match."""
    paths = ("a/1.jpg", "a/b/2.jpg", "ab/3.jpg", "c.jpg")
    holds = known(*(replace(STORED, path=path) for path in paths))
    gone = holds.find_vanished(unread_folders=["a"])
    assert {payload.path for payload in gone} == {"ab/3.jpg", "c.jpg"}
    assert holds.find_vanished(unread_folders=["."]) == []
