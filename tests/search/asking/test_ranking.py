"""One order of neighbours for all pages."""

import pytest
from lookalike_search.asking.ranking import Search, search_deeper, take_nearest

IMAGES = [f"{number:03}" for number in range(300)]


def search(depth: int) -> Search[str]:
    """Returns the nearest of `IMAGES`; searches no deeper than 7, 35 and 120 miss the images there."""
    missed = {"007": 80, "035": 320, "120": 320}
    found = [name for name in IMAGES if depth >= missed.get(name, 0)][:depth]
    return Search(found=found, is_all=len(found) < depth)


def first(count: int) -> list[str]:
    """Returns the first hits."""
    return take_nearest(search_deeper(search, key=lambda name: name), count)[:count]


@pytest.mark.parametrize("size", [1, 7, 10, 33])
def test_pages_have_every_image_once(size: int) -> None:
    """A hit that only a deeper search finds is on a later page."""
    pages = [first(start + size)[start:] for start in range(0, len(IMAGES), size)]
    assert sorted(name for page in pages for name in page) == IMAGES
    assert [name for page in pages for name in page] == first(len(IMAGES))


def test_hits_that_a_shallower_search_missed_come_last() -> None:
    """Earlier pages do not change."""
    assert first(20) == [*IMAGES[:7], *IMAGES[8:21]]
    assert first(22) == [*first(20), "007", "021"]


def test_ten_neighbours_take_one_search() -> None:
    """Longer answers take few searches."""
    depths: list[int] = []

    def noted(depth: int) -> Search[str]:
        depths.append(depth)
        return search(depth)

    for count, expected in [(20, [20]), (21, [20, 80]), (300, [20, 80, 320])]:
        depths.clear()
        take_nearest(search_deeper(noted, key=lambda name: name), count)
        assert depths == expected


def test_hits_with_the_same_key_are_listed_once() -> None:
    """The nearest of them is listed, and further hits fill the places of the others."""
    found = take_nearest(search_deeper(search, key=lambda name: int(name) // 2), 20)
    assert found[:4] == ["000", "002", "004", "006"]
    assert len(found) >= 20
