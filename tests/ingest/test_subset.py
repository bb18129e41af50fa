"""Random samples of a folder's images."""

import random
from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path

import pytest
from lookalike_core.errors import SkipReason
from lookalike_core.images.scan import FoundFile, Skipped
from lookalike_ingest.labels import Label, folder_label
from lookalike_ingest.subset import Chosen, Subset

PATHS = [f"{folder}{number}.jpg" for folder in ("", "cat/", "dog/", "dog/small/") for number in range(50)]


def found(path: str) -> FoundFile:
    """Returns a file with that path; its root and content do not matter."""
    return FoundFile(path=path, root=Path("/anywhere"), bytes=1, mtime_ns=1, ctime_ns=1)


def sample_paths(paths: Sequence[str], count: int, seed: int = 0) -> set[str]:
    """Returns the paths in a sample of at most so many images per class."""
    files = [found(path) for path in paths]
    chosen = Chosen(Subset(max_per_class=count, seed=seed), files, folder_label)
    return {file.path for file in files if chosen(file)}


def test_the_images_are_those_of_the_lowest_hashes() -> None:
    """The expected sample is computed by sorting BLAKE2b hashes of seed, NUL and path in each class."""
    expected = set()
    for name in (None, "cat", "dog"):
        own = [path for path in PATHS if found(path).folder_class == name]
        own.sort(key=lambda path: blake2b(b"7\0" + path.encode(), digest_size=16).hexdigest())
        expected |= set(own[:10])
    assert sample_paths(PATHS, 10, seed=7) == expected


def test_each_class_is_limited_and_so_are_images_without_a_class() -> None:
    """A smaller class is in the sample completely."""
    chosen = sample_paths([*PATHS, "bird/1.jpg", "bird/2.jpg"], 10)
    assert Counter(found(path).folder_class for path in chosen) == {None: 10, "cat": 10, "dog": 10, "bird": 2}


def test_the_order_of_the_scan_does_not_matter() -> None:
    """The path of the root does not matter either."""
    shuffled = random.Random(1).sample(PATHS, len(PATHS))  # noqa: S311 - an order, no secret
    assert sample_paths(shuffled, 10) == sample_paths(PATHS, 10)


def test_a_larger_sample_contains_the_smaller_one() -> None:
    """A collection can thus be filled in steps."""
    samples = [sample_paths(PATHS, count) for count in (1, 5, 10, 30, 100)]
    assert all(small < large for small, large in pairwise(samples))
    assert samples[-1] == set(PATHS)


def test_another_seed_is_another_sample() -> None:
    """Both samples have the same size."""
    one, other = sample_paths(PATHS, 10, seed=1), sample_paths(PATHS, 10, seed=2)
    assert len(one) == len(other)
    assert len(one & other) < len(one) / 2


@pytest.mark.parametrize("new", [f"cat/new{number}.jpg" for number in range(8)])
def test_a_further_image_displaces_at_most_one(new: str) -> None:
    """The displaced image is of the same class."""
    before, after = sample_paths(PATHS, 10), sample_paths([*PATHS, new], 10)
    assert after - before <= {new}
    assert len(before - after) == len(after - before)
    assert all(path.startswith("cat/") for path in before - after)


def test_a_sample_is_drawn_by_the_labels() -> None:
    """Labels override the folders."""
    chosen = Chosen(Subset(max_per_class=3), map(found, PATHS), lambda _: Label(class_name="same"))
    assert sum(chosen(found(path)) for path in PATHS) == 3


def test_skipped_entries_are_not_counted() -> None:
    """They have no class."""
    entries = [Skipped(path="cat/0.jpg", reason=SkipReason.UNREADABLE), found("cat/1.jpg")]
    chosen = Chosen(Subset(max_per_class=1), entries, folder_label)
    assert chosen(found("cat/1.jpg"))


def test_a_class_that_appears_after_the_scan_is_not_in_the_sample() -> None:
    """The next run samples it."""
    assert not Chosen(Subset(max_per_class=5), map(found, PATHS), folder_label)(found("new/1.jpg"))
