"""Groups of duplicates: what is grouped, which file is kept, and which files are redundant."""

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lookalike_core.errors import UsageError
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.points import ImagePoint, PointFilter
from lookalike_core.stores.protocol import Store
from lookalike_search.analysis.all_neighbours import ComparisonLimits
from lookalike_search.analysis.duplicates import (
    Group,
    KeptBecause,
    Match,
    find_duplicates,
    find_near,
    prove_groups,
)
from lookalike_search.analysis.file_state import FileState
from made_collections import STORES, collection_of, point_of, store_of
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo
from refusals import refuses


@pytest.fixture(scope="module", params=STORES)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Yields a store of each kind."""
    with store_of(request.param, tmp_path_factory.mktemp("qdrant")) as one:
        yield one


STORE_ASKED = ComparisonLimits(exact_images=0, at_once=3)
EITHER_WAY = pytest.mark.parametrize("found", [None, STORE_ASKED], ids=["numpy", "store"], indirect=True)
"""Compared in numpy, or asked of the store, three rows at a time."""


def drawn(shows: str, width: int = 100, note: str = "", **options: Any) -> bytes:
    """Returns a PNG of a text, 4:3, with a comment that makes its bytes differ."""
    image = Image.new("RGB", (400, 300), "seashell")
    pen = ImageDraw.Draw(image)
    pen.text((30, 60), shows, fill="navy", font=ImageFont.load_default(120))
    notes = PngInfo()
    notes.add_text("Comment", note)
    file = io.BytesIO()
    image.resize((width, width * 3 // 4)).save(file, "PNG", pnginfo=notes, **options)
    return file.getvalue()


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """Files, and the points that an ingest would make of them."""

    root: Path

    def point(
        self, path: str, degrees: float, data: bytes | None = None, *, shows: str = "one", **fields: Any
    ) -> ImagePoint:
        """Writes a file and returns its point, with a vector in the plane; bytes differ unless given."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        fields = {"width": 100} | fields
        fields = {"height": fields["width"] * 3 // 4} | fields
        data = drawn(shows, fields["width"], path) if data is None else data
        if not file.exists():
            file.write_bytes(data)
        os.utime(file, ns=(10, fields.get("mtime_ns", 10)))
        vector = [np.cos(np.radians(degrees)), np.sin(np.radians(degrees))]
        sha256 = hashlib.sha256(data).hexdigest()
        return point_of(path, vector, sha256=sha256, bytes=len(data), **fields)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Returns an empty folder."""
    return Folder(root=tmp_path / "data")


@pytest.fixture
def found(request: pytest.FixtureRequest, store: Store, folder: Folder) -> Any:
    """Returns the groups among points: `found(points, above=..., where=..., distance=..., limits=...)`."""
    asked: ComparisonLimits | None = getattr(request, "param", None)

    def find(
        points: list[ImagePoint],
        *,
        distance: Distance = Distance.COSINE,
        limits: ComparisonLimits | None = asked,
        **options: Any,
    ) -> list[Group]:
        with collecting(store, points, folder, distance) as collection:
            if limits is None:
                return find_duplicates(collection, **options)
            return prove_groups(find_near(collection, limits=limits, **options))

    return find


@contextmanager
def collecting(store: Store, points: list[ImagePoint], folder: Folder, distance: Distance) -> Iterator[Any]:
    """Yields a collection whose dataset is in the folder."""
    datasets = {"data": str(folder.root), "other": str(folder.root)}
    with collection_of(store, points, distance=distance, datasets=datasets) as collection:
        yield collection


def change(file: Path) -> None:
    """Replaces the bytes of a file by as many others."""
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def shown(groups: list[Group]) -> list[tuple[str, list[str]]]:
    """Returns for each group the path that is kept and those of the others."""
    return [(g.kept.payload.path, [other.payload.path for other in g.others]) for g in groups]


DEGREES_99 = float(np.degrees(np.arccos(0.99)))
"""Between two directions of similarity 0.99: about 8."""


@EITHER_WAY
def test_exact_and_near_duplicates_form_groups(folder: Folder, found: Any) -> None:
    """The largest group is first; an image without duplicates is in no group."""
    large = drawn("one", 200)
    points = [
        folder.point("a/large.jpg", 0, large, width=200),
        folder.point("a/small.jpg", DEGREES_99 - 0.5),
        folder.point("a/copy.jpg", 0, large, width=200),
        folder.point("b/1.jpg", 40, b"same"),
        folder.point("b/2.jpg", 40, b"same"),
        folder.point("c/1.jpg", 80, shows="two"),
        folder.point("c/2.jpg", 80 + DEGREES_99 + 0.5, shows="six"),
    ]
    first, second = found(points)
    assert shown([first, second]) == [
        ("a/copy.jpg", ["a/large.jpg", "a/small.jpg"]),
        ("b/1.jpg", ["b/2.jpg"]),
    ]
    copy, near = first.others
    assert (copy.match, near.match) == (Match.IDENTICAL, Match.NEAR_DUPLICATE)
    assert (copy.is_identical, near.is_identical) == (True, False)
    assert copy.similarity == 1
    assert near.similarity == pytest.approx(np.cos(np.radians(DEGREES_99 - 0.5)), abs=1e-6)
    assert first.redundant == [copy, near]
    assert first.frees == len(large) + points[1].payload.bytes
    assert second.because is KeptBecause.PATH


@EITHER_WAY
def test_a_chain_of_near_duplicates_is_not_one_group(folder: Folder, found: Any) -> None:
    """A matches B and B matches C, but A does not match C, so C is kept as well."""
    step = 24
    points = [folder.point(f"{number}.jpg", number * step, width=120 - 4 * number) for number in range(3)]
    assert shown(found(points)) == [("0.jpg", ["1.jpg"])]
    middle = [
        folder.point(f"m{number}.jpg", number * step, width=100 if number == 1 else 80) for number in range(3)
    ]
    [group] = found(middle)
    assert group.kept.payload.path == "m1.jpg"
    assert {other.payload.path for other in group.others} == {"m0.jpg", "m2.jpg"}


@EITHER_WAY
def test_thirty_duplicates_are_one_group(folder: Folder, found: Any) -> None:
    """There are more exact and near-duplicates than the first request to the store returns."""
    points = [folder.point(f"same/{number:02}.jpg", 0, b"same bytes") for number in range(30)]
    points += [folder.point(f"near/{number:02}.jpg", 2 + number / 100) for number in range(30)]
    points.append(folder.point("best.jpg", 1, width=200))
    near, same = found(points)
    assert near.kept.payload.path == "best.jpg"
    assert len(near.redundant) == len(near.others) == 30
    assert all(member.similarity > 0.99 for member in near.others)
    assert len(same.redundant) == len(same.others) == 29


@EITHER_WAY
def test_similar_images_are_shown_and_not_offered(folder: Folder, found: Any) -> None:
    """Different text on one ground, an undecodable file and other proportions prove no near-duplicate."""
    points = [
        folder.point("one.png", 0, width=120),
        folder.point("six.png", 1, shows="six"),
        folder.point("broken.png", 2, b"no image", width=100),
        folder.point("wide.png", 3, width=100, height=40),
    ]
    [group] = found(points)
    assert (group.kept.payload.path, group.is_proven, group.redundant) == ("one.png", False, [])
    assert {member.match for member in group.others} == {Match.SIMILAR}
    assert len(group.others) == 3


@EITHER_WAY
def test_a_near_duplicate_is_grouped_with_its_original(folder: Folder, found: Any) -> None:
    """Another image is nearer to it by embedding; that one has no duplicates and is shown as similar."""
    points = [
        folder.point("one.png", 0, width=120),
        folder.point("six.png", 6, width=110, shows="six"),
        folder.point("small one.png", 5, width=100),
    ]
    [group] = found(points)
    assert shown([group]) == [("one.png", ["small one.png", "six.png"])]
    assert [member.match for member in group.others] == [Match.NEAR_DUPLICATE, Match.SIMILAR]
    assert group.redundant == [group.others[0]]
    several = found([*points, folder.point("small six.png", 1, shows="six")])
    assert shown(several) == [("one.png", ["small one.png"]), ("six.png", ["small six.png"])]


def test_pixels_are_compared_below_the_threshold_of_similar_images(folder: Folder, found: Any) -> None:
    """By default a near-duplicate of similarity 0.97 is found, and other images of 0.97 are not shown."""
    points = [folder.point("one.png", 0, width=120), folder.point("small one.png", 14)]
    points.append(folder.point("six.png", -14, shows="six"))
    assert shown(found(points)) == [("one.png", ["small one.png"])]
    assert found(points, above=0.99) == []
    [group] = found(points, above=0.96)
    assert [member.payload.path for member in group.others] == ["small one.png", "six.png"]


def test_files_in_a_folder_to_keep_are_kept_and_never_offered(folder: Folder, found: Any) -> None:
    """They precede older and larger files, also when the folder is given by a link or with a final slash."""
    points = [
        folder.point("inbox/1.png", 0, b"x", mtime_ns=5),
        folder.point("album/1.png", 0, b"x"),
        folder.point("albums/3.png", 0, b"x"),
    ]
    (folder.root.parent / "link").symlink_to(folder.root / "album")
    for named in (folder.root / "album", folder.root.parent / "link", Path(f"{folder.root}/album/")):
        [group] = found(points, keep_in=[named])
        assert (group.kept.payload.path, group.because) == ("album/1.png", KeptBecause.FOLDER)
        assert group.kept.reference == named
        assert [member.payload.path for member in group.redundant] == ["inbox/1.png", "albums/3.png"]
    points.append(folder.point("album/2.png", 0, b"x"))
    [group] = found(points, keep_in=[folder.root / "albums", folder.root / "album"])
    assert [member.payload.path for member in group.redundant] == ["inbox/1.png"]
    [group] = found(points, keep_in=[folder.root.parent])
    assert (group.because, group.redundant) == (KeptBecause.OLDEST, [])


def test_a_larger_image_is_not_redundant_beside_a_smaller_one_to_keep(folder: Folder, found: Any) -> None:
    """The details that only the larger image shows would be lost."""
    points = [folder.point("inbox/large.png", 0, width=200), folder.point("album/small.png", 0, width=100)]
    [group] = found(points, keep_in=[folder.root / "album"])
    assert (group.kept.payload.path, group.redundant) == ("album/small.png", [])
    assert shown(found(points)) == [("inbox/large.png", ["album/small.png"])]


def test_a_folder_to_keep_has_to_hold_images_of_the_collection(folder: Folder, found: Any) -> None:
    """A folder without such images is refused, since the option would have no effect."""
    points = [folder.point("1.png", 0, b"x"), folder.point("2.png", 0, b"x")]
    (folder.root.parent / "elsewhere").mkdir()
    for named in ("elsewhere", "missing", "data/1.png"):
        with refuses(UsageError, match="--keep-in"):
            found(points, keep_in=[folder.root.parent / named])


@EITHER_WAY
def test_a_threshold_of_1_finds_exact_duplicates_only(folder: Folder, found: Any) -> None:
    """Different files with equal vectors are not grouped."""
    points = [
        folder.point("1.jpg", 3),
        folder.point("2.jpg", 3),
        folder.point("3.jpg", 3, drawn("one", note="1.jpg")),
    ]
    assert shown(found(points, above=1)) == [("1.jpg", ["3.jpg"])]


def test_only_the_given_dataset_is_searched(folder: Folder, found: Any) -> None:
    """Duplicates in another dataset are ignored."""
    points = [folder.point("1.jpg", 0, b"x"), folder.point("1.jpg", 0, b"x", dataset="other")]
    assert len(found(points)) == 1
    assert found(points, where=PointFilter(dataset="data")) == []
    assert found([]) == []


def test_euclidean_collections_are_compared_by_cosine(folder: Folder, found: Any) -> None:
    """Vectors of any length are compared by their directions."""
    points = [folder.point("1.jpg", 0), folder.point("2.jpg", 1), folder.point("3.jpg", 60)]
    long = ImagePoint(payload=points[1].payload, vector=points[1].vector * 100)
    [group] = found([points[0], long, points[2]], distance=Distance.EUCLID)
    assert shown([group]) == [("1.jpg", ["2.jpg"])]
    assert group.others[0].similarity == pytest.approx(np.cos(np.radians(1)), abs=1e-6)


def test_a_euclidean_collection_too_large_to_compare_is_refused(folder: Folder, found: Any) -> None:
    """Euclidean search gives no cosine similarities; the message advises a cosine collection."""
    points = [folder.point("1.jpg", 0), folder.point("2.jpg", 1)]
    with refuses(UsageError, match="--distance cosine"):
        found(points, distance=Distance.EUCLID, limits=ComparisonLimits(exact_images=1))


@pytest.mark.parametrize(
    ("better", "because"),
    [
        ({"width": 104}, KeptBecause.PIXELS),
        ({"data": drawn("one", note="a longer note than the other's"), "mtime_ns": 11}, KeptBecause.BYTES),
        ({"mtime_ns": 9}, KeptBecause.OLDEST),
        ({}, KeptBecause.PATH),
    ],
)
def test_the_kept_file_follows_the_rules_in_order(
    folder: Folder, found: Any, better: dict[str, Any], because: KeptBecause
) -> None:
    """Each group names the rule that decided."""
    name = "a.jpg" if because is KeptBecause.PATH else "z.jpg"
    points = [folder.point(name, 1, **better), folder.point("b.jpg", 0)]
    [group] = found(points)
    assert (group.kept.payload.path, group.because) == (name, because)


def test_a_file_that_is_gone_or_changed_is_not_kept_and_not_offered(folder: Folder, found: Any) -> None:
    """It would be kept for its pixels; where only the time differs, the bytes decide."""
    points = [
        folder.point("gone.jpg", 0, width=5000),
        folder.point("longer.jpg", 0, width=4000),
        folder.point("other.jpg", 0, width=50),
        folder.point("touched.jpg", 0, width=50),
        folder.point("small.jpg", 0, width=100),
    ]
    (folder.root / "gone.jpg").unlink()
    (folder.root / "longer.jpg").write_bytes(b"longer than it was")
    change(folder.root / "other.jpg")
    os.utime(folder.root / "touched.jpg", ns=(99, 99))
    [group] = found(points)
    assert (group.kept.payload.path, group.because) == ("small.jpg", KeptBecause.PIXELS)
    assert {member.payload.path: member.state for member in group.others} == {
        "gone.jpg": FileState.GONE,
        "longer.jpg": FileState.CHANGED,
        "other.jpg": FileState.CHANGED,
        "touched.jpg": FileState.PRESENT,
    }
    assert [member.payload.path for member in group.redundant] == ["touched.jpg"]
    [pair] = found([points[0], points[4]])
    assert (pair.kept.payload.path, pair.because) == ("small.jpg", KeptBecause.THERE)


def test_nothing_is_offered_where_the_kept_file_is_gone(folder: Folder, found: Any) -> None:
    """No file is offered where the kept one has changed, or where all files of a group are missing."""
    points = [folder.point("kept.jpg", 0, width=1000), folder.point("good.jpg", 0)]
    change(folder.root / "kept.jpg")
    [group] = found(points)
    assert (group.kept.state, group.redundant, group.frees) == (FileState.CHANGED, [], 0)
    for point in points:
        (folder.root / point.payload.path).unlink()
    [group] = found(points)
    assert {group.kept.state, group.others[0].state} == {FileState.GONE}
    assert group.redundant == []


def test_a_link_to_the_kept_file_is_not_offered(folder: Folder, found: Any) -> None:
    """A hard link, a symbolic link or the same folder as another dataset is no second copy of the file."""
    kept = folder.point("1.jpg", 0, b"x")
    os.link(folder.root / "1.jpg", folder.root / "2.jpg")
    (folder.root / "3.jpg").symlink_to(folder.root / "1.jpg")
    points = [kept, *(folder.point(f"{number}.jpg", 0, b"x") for number in (2, 3))]
    points.append(folder.point("1.jpg", 0, b"x", dataset="other"))
    [group] = found(points)
    assert len(group.others) == 3
    assert (group.redundant, group.frees) == ([], 0)


def test_bytes_of_hard_links_are_counted_once(folder: Folder, found: Any) -> None:
    """Deleting the last name of a file frees its bytes; a file in two datasets is offered once."""
    points = [folder.point("1.jpg", 0, b"xyz"), folder.point("2.jpg", 0, b"xyz")]
    os.link(folder.root / "2.jpg", folder.root / "3.jpg")
    (folder.root / "4.jpg").symlink_to(folder.root / "2.jpg")
    points += [folder.point(f"{number}.jpg", 0, b"xyz") for number in (3, 4)]
    points.append(folder.point("3.jpg", 0, b"xyz", dataset="other"))
    [group] = found(points)
    assert sorted(member.payload.path for member in group.redundant) == ["2.jpg", "3.jpg", "4.jpg"]
    assert group.frees == 3


def test_a_dataset_whose_folder_is_unknown_has_no_files(folder: Folder, found: Any) -> None:
    """Its images are shown as gone."""
    points = [folder.point(f"{number}.jpg", 0, b"x", dataset="unheard of") for number in range(2)]
    [group] = found(points)
    assert (group.kept.file, group.kept.state, group.redundant) == (None, FileState.GONE, [])


def test_a_motion_photo_is_never_offered_for_the_photo_alone(found: Any, folder: Folder) -> None:
    """The motion photo's video would be lost; the plain photo may be offered."""
    video = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(range(1, 255)) * 20
    moving, still = drawn("one", 100, "moving") + video, drawn("one", 100, "still")
    offered = found([folder.point("moving.png", 0, moving), folder.point("still.png", 1, still)])
    assert [[each.payload.path for each in group.redundant] for group in offered] == [["still.png"]]
    kept = found([folder.point("moving.png", 0, moving), folder.point("large.png", 1, width=200)])
    assert [group.redundant for group in kept] == [[]]


def test_other_bytes_of_the_same_size_and_time_are_not_offered(folder: Folder, found: Any) -> None:
    """Tools that edit tags in place keep size and time; such a changed file is not kept, either."""
    data = drawn("one")
    points = [folder.point(f"{number}.png", 0, data, shows="one") for number in range(3)]
    change(folder.root / "1.png")
    os.utime(folder.root / "1.png", ns=(10, 10))
    [group] = found(points)
    assert {each.payload.path: each.state for each in group.others} == {
        "1.png": FileState.CHANGED,
        "2.png": FileState.PRESENT,
    }
    assert [each.payload.path for each in group.redundant] == ["2.png"]
    change(folder.root / "0.png")
    os.utime(folder.root / "0.png", ns=(10, 10))
    [group] = found(points)
    assert (group.kept.state, group.redundant) == (FileState.CHANGED, [])
