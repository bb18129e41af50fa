"""The library's searches with a part of an image, and where neighbours have it."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import lookalike
from lookalike.errors import ImageError, SkipReason, UsageError

PART = (12, 8, 40, 30)
SUM_TOLERANCE = 1e-6


def scores(answer: lookalike.Answer) -> list[tuple[str, float]]:
    """Returns the neighbours with their scores."""
    return [(hit.path, hit.score) for hit in answer]


@pytest.mark.parametrize(
    "make",
    [
        str,
        Path,
        Path.read_bytes,
        lambda file: io.BytesIO(file.read_bytes()),
        Image.open,
        lambda file: np.asarray(Image.open(file)),
    ],
    ids=["text", "path", "bytes", "stream", "pillow", "array"],
)
def test_every_form_of_an_image_has_regions(
    index: lookalike.Index, images: Path, make: Callable[[Path], Any]
) -> None:
    """The answer is that of the file."""
    whole = index.search(images / "dog/3.png", include_self=True)
    expected = index.search(images / "dog/3.png", region=PART, include_self=True)
    found = index.search(make(images / "dog/3.png"), region=PART, include_self=True)
    assert scores(found) == scores(expected) != scores(whole)
    assert found.part is not None
    assert str(found.part.box) == "12,8,40,30"
    assert (found.part.width, found.part.height) == (64, 48)
    assert whole.part is None


def test_numbers_and_text_mean_the_same_region(index: lookalike.Index, images: Path) -> None:
    """Numbers are pixels; text has either unit."""
    file = images / "dog/3.png"
    same = [PART, [12.0, 8, 40, 30], np.array(PART), "12,8,40,30", "18.75%,16.6667%,62.5%,62.5%"]
    found = index.search_many([file], region=same[0])
    assert all(scores(index.search(file, region=region)) == scores(found[0]) for region in same[1:])


def test_a_region_of_the_whole_image_is_no_region(index: lookalike.Index, images: Path) -> None:
    """Of a file, of an indexed image, whose stored vector is compared, and of an array."""
    for image in (images / "dog/3.png", "dog/3.png", np.asarray(Image.open(images / "dog/3.png"))):
        whole, found = index.search(image), index.search(image, region="0%,0%,100%,100%")
        assert scores(found) == scores(whole)
        assert found.provider == whole.provider


@pytest.mark.parametrize(
    "region", ["1,2,3", (1, 2, 3), (1, 2, 3, "x"), 7, b"1,2,3,4", (0, 0, 0, 1), (0, 0, np.nan, 1)]
)
def test_a_value_that_is_no_region_is_refused(index: lookalike.Index, images: Path, region: Any) -> None:
    """The error names its argument."""
    with pytest.raises(UsageError, match=r"as 40,30,200,150 in pixels") as refused:
        index.search(images / "dog/3.png", region=region)
    assert refused.value.argument == "region"


def test_a_vector_has_no_region(index: lookalike.Index) -> None:
    """It is of the whole image already."""
    vector = index.vectors()[1][0]
    with pytest.raises(UsageError, match="a feature vector has no region") as refused:
        index.search(vector, region=PART)
    assert refused.value.argument == "region"


def test_a_region_beyond_an_image_is_an_error_of_that_image(index: lookalike.Index, images: Path) -> None:
    """An indexed image is refused before its file is read; an array, too."""
    for image in (images / "dog/3.png", "dog/3.png", np.zeros((48, 64, 3), np.uint8)):
        with pytest.raises(ImageError, match="has 64 x 48 pixels") as refused:
            index.search(image, region=(0, 0, 65, 10))
        assert refused.value.reason is SkipReason.OUTSIDE
    [answer] = index.search_many([images / "dog/3.png"], region=(0, 0, 65, 10), raise_errors=False)
    assert answer.error is not None


def test_located_shares_sum_to_the_score(index: lookalike.Index, images: Path) -> None:
    """Of a part, and of several examples; a fused index refuses."""
    file = images / "dog/3.png"
    for options in ({"region": PART}, {"positives": [images / "cat/1.png"]}, {}):
        found = index.search(file, locate=True, limit=3, **options)
        for hit in found:
            assert not isinstance(hit.located, SkipReason | None)
            assert hit.located.shares.sum() == pytest.approx(hit.score, abs=SUM_TOLERANCE)
    assert "Region: 12,8,40,30" in index.search(file, region=PART, locate=True, limit=3).to_html()
    assert index.search(file)[0].located is None


def test_an_explanation_has_regions(index: lookalike.Index, images: Path) -> None:
    """Its score is that of the search."""
    file = images / "dog/3.png"
    hit = index.search(file, region=PART)[0]
    explained = index.explain(file, hit, region=PART)
    assert explained.score == pytest.approx(hit.score, abs=SUM_TOLERANCE)
    assert explained.query_shares.sum() == pytest.approx(hit.score, abs=SUM_TOLERANCE)
