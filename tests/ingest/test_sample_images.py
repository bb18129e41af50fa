"""The sample set: its images, that they are the same on every run, and folders that it refuses."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from itertools import combinations
from typing import TYPE_CHECKING

import pytest
from lookalike_core.errors import UsageError
from lookalike_ingest.sample_images import CLASSES, SampleSet, check_query, draw_query, draw_sample
from PIL import Image, ImageChops, ImageStat
from refusals import refuses

if TYPE_CHECKING:
    from pathlib import Path

# Mean difference of two thumbnails, in levels of 0 to 255: saving an image again as JPEG makes less than 2.
_DIFFERENT = 4.0


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleSet:
    """Draws the set once, into a new folder."""
    return draw_sample(tmp_path_factory.mktemp("sample") / "new" / "pictures")


@pytest.fixture(scope="module")
def redrawn(sample: SampleSet, tmp_path_factory: pytest.TempPathFactory) -> SampleSet:
    """Draws the set over a copy with one damaged image and a file left by a file manager."""
    copy = tmp_path_factory.mktemp("redrawn")
    shutil.copytree(sample.directory, copy, dirs_exist_ok=True)
    (copy / "boat" / "boat_001.jpg").write_bytes(b"damaged")
    (copy / ".DS_Store").write_bytes(b"left by a file manager")
    return draw_sample(copy)


@pytest.fixture(scope="module")
def thumbnails(sample: SampleSet) -> dict[str, list[Image.Image]]:
    """Returns the images of each class, small enough to compare."""
    return {name: [_thumbnail(path) for path in (sample.directory / name).iterdir()] for name in CLASSES}


def test_sample_holds_twenty_images_in_a_folder_per_class(sample: SampleSet) -> None:
    """The set has no other files, because folders name the classes."""
    folders = Counter(path.parent.relative_to(sample.directory).as_posix() for path in _images(sample))
    assert folders == dict.fromkeys(CLASSES, 20)
    assert sample.images == 200
    assert sample.classes == CLASSES


def test_every_image_has_the_format_of_its_suffix(sample: SampleSet) -> None:
    """JPEG, PNG and WebP are in the set, all of them complete and in RGB."""
    formats: Counter[str] = Counter()
    for path in _images(sample):
        with Image.open(path) as image:
            image.load()
            assert image.mode == "RGB"
            assert image.format == {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP"}[path.suffix]
            formats[image.format] += 1
    assert formats == {"JPEG": 140, "PNG": 40, "WEBP": 20}


def test_images_come_in_many_sizes_and_all_three_orientations(sample: SampleSet) -> None:
    """Real folders hold portrait, landscape and square images side by side."""
    sizes = set()
    for path in _images(sample):
        with Image.open(path) as image:
            sizes.add(image.size)
    assert len(sizes) > 100
    assert {(width > height) - (width < height) for width, height in sizes} == {-1, 0, 1}
    assert all(200 <= side <= 480 for size in sizes for side in size)


@pytest.mark.parametrize("class_name", CLASSES)
def test_images_of_one_class_differ_visibly(
    class_name: str, thumbnails: dict[str, list[Image.Image]]
) -> None:
    """No image is a near-duplicate, so that neighbours are found by their content."""
    pairs = list(combinations(thumbnails[class_name], 2))
    assert len(pairs) == 190
    assert all(_difference(one, other) > _DIFFERENT for one, other in pairs)


def test_sample_is_the_same_bytes_every_time(sample: SampleSet, redrawn: SampleSet) -> None:
    """Results can then be compared between runs."""
    first, second = _contents(sample), _contents(redrawn)
    assert len(set(first.values())) == 200
    assert {name: content for name, content in second.items() if name in first} == first


def test_redrawing_repairs_the_set_and_keeps_the_file_managers_file(
    sample: SampleSet, redrawn: SampleSet
) -> None:
    """A folder that holds exactly a sample may be overwritten."""
    assert redrawn.images == 200
    assert _contents(redrawn).keys() - _contents(sample).keys() == {".DS_Store"}
    assert (redrawn.directory / "boat" / "boat_001.jpg").read_bytes() != b"damaged"


def test_folder_with_other_files_is_refused_and_unchanged(tmp_path: Path) -> None:
    """A user's own images are never mixed with drawn ones."""
    own = tmp_path / "holiday" / "beach.jpg"
    own.parent.mkdir()
    own.write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"beach\.jpg.*Name a new or empty folder"):
        draw_sample(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [own]


def test_folder_with_one_more_file_than_a_sample_is_refused(sample: SampleSet, tmp_path: Path) -> None:
    """A user has added an image to the sample."""
    shutil.copytree(sample.directory, tmp_path, dirs_exist_ok=True)
    (tmp_path / "boat" / "mine.jpg").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"mine\.jpg"):
        draw_sample(tmp_path)


def test_folder_with_a_part_of_a_sample_is_refused(tmp_path: Path) -> None:
    """Files with our names may be a user's own, so they are not overwritten."""
    (tmp_path / "apple").mkdir()
    (tmp_path / "apple" / "apple_001.jpg").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"only a part of a sample: .*apple_002\.jpg is missing"):
        draw_sample(tmp_path)
    assert (tmp_path / "apple" / "apple_001.jpg").read_bytes() == b"mine"


def test_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    """The message says that it is a file, and asks for another name."""
    path = tmp_path / "pictures"
    path.write_bytes(b"mine")
    with pytest.raises(UsageError, match="is a file"):
        draw_sample(path)


@pytest.mark.parametrize("class_name", CLASSES)
def test_query_image_differs_from_every_image_of_the_set(
    class_name: str, thumbnails: dict[str, list[Image.Image]], tmp_path: Path
) -> None:
    """A search for it has to find its class, and not the image itself."""
    query = tmp_path / "queries" / f"{class_name}.jpg"
    draw_query(query, class_name)
    thumbnail = _thumbnail(query)
    assert all(
        _difference(thumbnail, other) > _DIFFERENT for others in thumbnails.values() for other in others
    )


def test_query_image_is_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    """An image depends neither on Python's hash seed nor on earlier drawings."""
    draw_query(tmp_path / "here.png", "tree")
    program = (
        "import sys, pathlib; from lookalike_ingest.sample_images import draw_query; "
        "draw_query(pathlib.Path(sys.argv[1]), 'tree')"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "there.png")], check=True, env=environment)
    assert (tmp_path / "here.png").read_bytes() == (tmp_path / "there.png").read_bytes()


def test_query_image_has_the_format_of_its_suffix_in_any_case(tmp_path: Path) -> None:
    """Cameras and Windows write `.PNG` for PNG."""
    draw_query(tmp_path / "fish.PNG", "fish")
    with Image.open(tmp_path / "fish.PNG") as image:
        assert image.format == "PNG"


def test_query_of_an_unknown_class_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    """The message lists the existing classes."""
    with pytest.raises(UsageError, match=r"'dragon'.*apple, balloon, boat"):
        draw_query(tmp_path / "dragon.jpg", "dragon")


def test_query_of_an_unknown_format_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """The message lists the supported suffixes."""
    with pytest.raises(UsageError, match=r"fish\.tiff.*\.jpg, \.jpeg, \.png, \.webp"):
        draw_query(tmp_path / "queries" / "fish.tiff", "fish")
    assert not (tmp_path / "queries").exists()


def test_a_query_never_overwrites_another_image(tmp_path: Path) -> None:
    """The image that would be drawn may exist already, also behind a link, which is kept."""
    mine = tmp_path / "mine.jpg"
    Image.new("RGB", (9, 9)).save(mine)
    own = mine.read_bytes()
    with refuses(UsageError, match=r"--query: .*mine\.jpg is a JPEG and is not replaced"):
        draw_query(mine, "fish")
    assert mine.read_bytes() == own
    drawn, link = tmp_path / "drawn.jpg", tmp_path / "link.jpg"
    link.symlink_to(drawn)
    draw_query(link, "fish")
    first = drawn.read_bytes()
    draw_query(drawn, "fish")
    assert link.is_symlink()
    assert drawn.read_bytes() == first


def test_a_query_inside_the_set_is_refused(tmp_path: Path) -> None:
    """The set would no longer be a sample that may be overwritten."""
    with pytest.raises(UsageError, match="is inside the sample set"):
        check_query(tmp_path / "set" / "apple" / "apple_001.jpg", "apple", sample=tmp_path / "set")


def _images(sample: SampleSet) -> list[Path]:
    return sorted(path for path in sample.directory.rglob("*") if path.is_file())


def _contents(sample: SampleSet) -> dict[str, bytes]:
    return {path.relative_to(sample.directory).as_posix(): path.read_bytes() for path in _images(sample)}


def _thumbnail(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB").resize((32, 32))


def _difference(one: Image.Image, other: Image.Image) -> float:
    """Returns the mean difference of the channels, in levels of 0 to 255."""
    return max(ImageStat.Stat(ImageChops.difference(one, other)).mean)
