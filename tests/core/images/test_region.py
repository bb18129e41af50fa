"""Regions: how they are written, what is refused, and which pixels they are."""

import pytest
from lookalike_core.errors import ImageError, SkipReason, UsageError
from lookalike_core.images.region import Box, Region, Unit


@pytest.mark.parametrize(
    ("text", "size", "box"),
    [
        ("10,20,30,40", (100, 80), (10, 20, 30, 40)),
        (" 10 , 20 , 30 , 40 ", (100, 80), (10, 20, 30, 40)),
        ("10%,25%,50%,50%", (100, 80), (10, 20, 50, 40)),
        ("0%,0%,100%,100%", (101, 83), (0, 0, 101, 83)),
        ("33.3%,0%,66.7%,100%", (300, 10), (100, 0, 200, 10)),
        ("10.4,0.6,5,5", (100, 80), (10, 1, 5, 5)),
        ("99.9,79.9,0.05,0.05", (100, 80), (99, 79, 1, 1)),
        ("0,0,0.1,0.1", (100, 80), (0, 0, 1, 1)),
    ],
    ids=["pixels", "spaces", "percent", "whole", "thirds", "fractions", "last-pixel", "first-pixel"],
)
def test_a_region_is_whole_pixels(text: str, size: tuple[int, int], box: tuple[int, ...]) -> None:
    """Edges are rounded, and at least one pixel remains."""
    found = Region.parse(text).locate(size, "a.png")
    assert (found.left, found.top, found.width, found.height) == box


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "4 numbers"),
        ("1,2,3", "4 numbers"),
        ("1,2,3,4,5", "4 numbers"),
        ("1,2,3,x", "1,2,3,x is no region"),
        ("1,2,3%,4", "mixes pixels and percent"),
        ("1,2,0,4", "is empty"),
        ("1,2,3,-4", "is empty"),
        ("-1,2,3,4", "begins outside"),
        ("nan,2,3,4", "not finite"),
        ("1,2,inf,4", "not finite"),
        ("1e308,0,1e308,4", "not finite"),
        ("60%,0%,50%,50%", "beyond 100 %"),
    ],
)
def test_a_malformed_region_is_refused_with_an_example(text: str, problem: str) -> None:
    """The message says how a region is written."""
    with pytest.raises(UsageError, match=problem) as refused:
        Region.parse(text)
    assert "40,30,200,150" in str(refused.value)
    assert "10%,20%,50%,50%" in str(refused.value)
    assert refused.value.argument == "region"


def test_a_region_beyond_the_image_is_refused_with_its_size() -> None:
    """Only the image tells, so that this is an error of the image."""
    with pytest.raises(ImageError, match=r"a\.png has 100 x 80 pixels, .* 90,0,20,10 reaches") as refused:
        Region.parse("90,0,20,10").locate((100, 80), "a.png")
    assert refused.value.reason is SkipReason.OUTSIDE


def test_a_region_is_shown_as_it_is_written() -> None:
    """The text of a region means the same region."""
    for text in ("10,20.5,1234567,4", "10%,20%,30.25%,40%"):
        assert str(Region.parse(text)) == text
    assert Region.of((0, 0, 50, 50), Unit.PERCENT) == Region.parse("0%,0%,50%,50%")


def test_a_box_knows_whether_it_is_the_whole_image() -> None:
    """Only all four edges make it so."""
    assert Box(left=0, top=0, width=4, height=3).is_all_of((4, 3))
    assert not Box(left=0, top=0, width=4, height=2).is_all_of((4, 3))
    assert str(Box(left=1, top=2, width=3, height=4)) == "1,2,3,4"
