"""Verifying an index from Python."""

from pathlib import Path

import pytest
from lookalike_core import errors
from lookalike_ingest.integrity.faults import Fault
from read_only import read_only

import lookalike


def test_a_sound_index_is_verified_whole_by_default(index: lookalike.Index) -> None:
    """Every file is read again."""
    found = index.verify()
    assert found.is_sound
    assert (found.points, found.reread, found.at_most_wrong) == (len(index), len(index), 0)
    assert found.collection == index.collection


def test_samples_are_numbers_or_shares(index: lookalike.Index) -> None:
    """Both give the same bound for the same size."""
    by_number, by_share = index.verify(sample=13), index.verify(sample=0.5)
    assert (by_number.sampled, by_share.sampled) == (13, 13)
    assert by_number.share_at_most_wrong == by_share.share_at_most_wrong > 0


@pytest.mark.parametrize("sample", [0, -1, 0.0, 1.5, float("nan"), True, "1%"])
def test_other_samples_are_refused(index: lookalike.Index, sample: object) -> None:
    """The error names the argument."""
    with pytest.raises(errors.UsageError) as refused:
        index.verify(sample=sample)  # type: ignore[arg-type] - it is wrong on purpose
    assert refused.value.argument == "sample"


def test_an_index_that_may_only_be_read_is_verified(
    images: Path, tiny_model: lookalike.Model, tmp_path: Path
) -> None:
    """Nothing is written; a finding names its image."""
    place = tmp_path / "photos.index"
    with lookalike.open(place, model=tiny_model) as index:
        index.add(images)
    with read_only(place), lookalike.open(place, model=tiny_model) as index:
        assert index.verify(sample=3).is_sound


def test_findings_name_their_images(tiny_model: lookalike.Model, images: Path, tmp_path: Path) -> None:
    """By dataset and path."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("0.png", "1.png", "2.png"):
        (folder / name).write_bytes((images / "cat" / name).read_bytes())
    with lookalike.open(tmp_path / "own.index", model=tiny_model) as index:
        index.add(folder)
        (folder / "1.png").unlink()
        found = index.verify(sample=1)
    assert [(one.fault, one.dataset, one.path) for one in found.findings] == [
        (Fault.FILE_MISSING, "data", "1.png")
    ]
