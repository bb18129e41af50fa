"""Paths of images elsewhere: they join, compare and show like paths of files."""

import pickle
from pathlib import Path

import pytest
from lookalike_core.errors import UsageError
from lookalike_core.sources.file_systems import check_url
from lookalike_core.sources.source_path import SourcePath, name_root, parse_root, resolve_root

ROOTS = (
    "s3://bucket/photos",
    "gs://bucket",
    "/data/train.parquet",
    "/data/hf/*.parquet",
    "s3://b/x/*.parquet",
)


@pytest.mark.parametrize("root", ROOTS)
def test_the_text_of_a_root_and_of_an_image_is_read_back(root: str) -> None:
    """A manifest has text, and hits show it; pathlib alone would collapse the slashes of a URL."""
    image = parse_root(root) / "cat/1.jpg"
    assert (str(image), str(parse_root(root)), resolve_root(root)) == (f"{root}/cat/1.jpg", root, root)
    assert isinstance(image, SourcePath)
    assert image.is_relative_to(parse_root(root))
    assert image.relative_to(parse_root(root)).as_posix() == "cat/1.jpg"
    assert str(image.parent.parent) == root
    assert (image.name, image.suffix, image.is_symlink()) == ("1.jpg", ".jpg", False)
    assert image.absolute() == image
    assert pickle.loads(pickle.dumps(image)) == image  # noqa: S301 - made in this line
    assert not image.is_relative_to("/data/other")
    assert not Path("/data/other/1.jpg").is_relative_to(parse_root(root))


def test_a_local_folder_stays_one(tmp_path: Path) -> None:
    """Also one that is named like a Parquet file, or is inside one."""
    folder = tmp_path / "odd.parquet" / "cat"
    folder.mkdir(parents=True)
    for root in (tmp_path, folder, folder.parent, tmp_path / "missing"):
        assert type(parse_root(str(root))) is type(Path())


def test_a_dataset_is_told_from_its_images() -> None:
    """The first Parquet file on the path is the dataset, unless all below a folder are meant."""
    dataset, path = SourcePath("s3://b/odd.parquet/*.parquet/cat/1.parquet").split_parquet()
    assert (str(dataset), path) == ("s3://b/odd.parquet/*.parquet", "cat/1.parquet")
    dataset, path = SourcePath("/a/b.parquet/c.parquet/1.jpg").split_parquet()
    assert (str(dataset), path) == ("/a/b.parquet", "c.parquet/1.jpg")


def test_datasets_are_named_after_their_folder_file_or_bucket() -> None:
    """As a local dataset is named after its folder."""
    named = {root: name_root(parse_root(root)) for root in ROOTS}
    assert list(named.values()) == ["photos", "bucket", "train", "hf", "x"]


@pytest.mark.parametrize("url", ["s3://bucket/a b#?/ü%20/", "gs://anonymous@bucket", "s3://bucket"])
def test_urls_are_taken_as_they_are_written(url: str) -> None:
    """Keys may have any characters; only a slash at the end goes."""
    assert check_url(url) == url.rstrip("/")


@pytest.mark.parametrize(
    "url", ["s3://a:b@c/d", "gs://a@c/d", "s3:///x", "s3://b//x", "s3://b/./x", "http://b/x"]
)
def test_urls_that_name_no_folder_or_have_credentials_are_refused(url: str) -> None:
    """What would be recorded is a place, and no secret."""
    with pytest.raises(UsageError) as caught:
        check_url(url)
    assert "a:b" not in str(caught.value)
