"""An index from its first folder to its last answer, with drawn images, a small real model and a store."""

import io
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lookalike_core.stores.embedded import EmbeddedStore
from PIL import Image
from read_only import read_contents, read_only

import lookalike
from lookalike import errors

SCORE_TOLERANCE = 1e-3
"""On the score of an image with itself: Qdrant squares and adds up float32."""

Draw = Callable[..., list[Path]]


def places(answer: lookalike.Answer) -> list[tuple[float, str]]:
    """Returns the score and path of each hit."""
    return [(hit.score, hit.path) for hit in answer]


def test_a_folder_is_added_and_searched(tiny_model: lookalike.Model, images: Path, tmp_path: Path) -> None:
    """Every image is indexed once; a second `add` changes nothing."""
    with lookalike.open(tmp_path / "photos.index", model=tiny_model) as index:
        assert len(index) == 0
        report = index.add(images, dataset="mine")
        assert (report.added, report.unchanged, report.skipped) == (26, 0, ())
        assert report.dataset == "mine"
        assert report.collection == index.collection
        again = index.add(images, dataset="mine")
        assert (again.added, again.unchanged, again.provider) == (0, 26, None)
        assert len(index) == 26
        assert index.classes == {"": 1, "cat": 13, "dog": 12}
        assert index.datasets == {"mine": 26}
        answer = index.search(images / "dog/3.png", limit=5)
    assert [hit.rank for hit in answer] == [1, 2, 3, 4, 5]
    assert len(set(answer)) == 5
    assert answer[0].file == images / answer[0].path
    assert {(hit.class_name or hit.path) == hit.path.split("/")[0] for hit in answer} == {True}
    assert answer.query == str(images / "dog/3.png")


def test_the_collections_of_a_store_are_listed(
    tiny_model: lookalike.Model, draw: Draw, tmp_path: Path
) -> None:
    """Each has its points, datasets and classes; an empty folder has no collections."""
    assert lookalike.list_collections(tmp_path / "photos.index") == []
    draw(tmp_path / "one", "cat/1.png", "2.png")
    with lookalike.open(tmp_path / "photos.index", model=tiny_model) as index:
        index.add(tmp_path / "one")
        name = index.collection
    [found] = lookalike.list_collections(tmp_path / "photos.index")
    assert (found.name, found.points) == (name, 2)
    assert (found.datasets, found.classes) == ({"one": 2}, {"": 1, "cat": 1})
    with lookalike.open(tmp_path / "photos.index", collection=found.name) as index:
        assert len(index) == 2


def test_several_folders_are_several_datasets(
    tiny_model: lookalike.Model, draw: Draw, tmp_path: Path
) -> None:
    """Each can be removed alone."""
    draw(tmp_path / "one", "1.png", "2.png")
    draw(tmp_path / "two", "3.png", seed=1)
    with lookalike.open(tmp_path / "photos.index", model=tiny_model) as index:
        index.add(tmp_path / "one")
        index.add(str(tmp_path / "two"))
        assert index.datasets == {"one": 2, "two": 1}
        assert index.remove("one") == 2
        assert index.datasets == {"two": 1}
        with pytest.raises(errors.UsageError, match="no collection here holds"):
            index.remove("one")


def test_a_report_has_the_messages_of_the_command_as_data(
    tiny_model: lookalike.Model, draw: Draw, tmp_path: Path
) -> None:
    """It has other datasets, folder rules, and removed paths."""
    draw(tmp_path / "all", "1.png", "cat/2.png")
    with lookalike.open(tmp_path / "photos.index", model=tiny_model) as index:
        index.add(tmp_path / "all")
        inner = index.add(tmp_path / "all" / "cat", exclude="raw")
        assert [each.name for each in inner.overlapping_datasets] == ["all"]
        assert (inner.rules.exclude, inner.removed_paths, inner.gone_datasets) == (("raw",), (), ())
        index.remove("cat")
        (tmp_path / "all").rename(tmp_path / "new")
        renamed = index.add(tmp_path / "new")
        assert [(gone.name, gone.points, gone.shared) for gone in renamed.gone_datasets] == [("all", 2, 2)]
        (tmp_path / "new" / "1.png").unlink()
        assert index.add(tmp_path / "new", prune=True).removed_paths == ("1.png",)


def test_rules_of_a_folder_are_arguments_and_stored(
    tiny_model: lookalike.Model, draw: Draw, tmp_path: Path
) -> None:
    """They are patterns, default excludes, links to folders, and the folder that names the class."""
    draw(tmp_path / "data", "train/cat/1.png", "train/rejected/2.png", "val/dog/3.png", "@eaDir/4.png")
    draw(tmp_path / "linked", "bird/5.png", seed=5)
    (tmp_path / "data" / "test").symlink_to(tmp_path / "linked", target_is_directory=True)
    with lookalike.open(tmp_path / "photos.index", model=tiny_model) as index:
        report = index.add(tmp_path / "data")
        assert (report.added, report.linked_folders) == (3, 1)
        assert report.split_classes == ("train", "val")
        report = index.add(tmp_path / "data", exclude="rejected", follow_links=True, class_level=2)
        assert (report.removed, report.excluded, report.split_classes) == (1, 1, ())
        assert index.classes == {"cat": 1, "dog": 1, "bird": 1}
        assert index.add(tmp_path / "data").unchanged == 3
        with pytest.raises(errors.UsageError, match="gitignore"):
            index.add(tmp_path / "data", exclude=["#"])
        index.add(tmp_path / "data", exclude=[], default_excludes=False, class_level=1)
        assert index.classes == {"train": 2, "val": 1, "@eaDir": 1, "test": 1}


def test_unreadable_files_are_in_the_report(tiny_model: lookalike.Model, draw: Draw, tmp_path: Path) -> None:
    """Each has its path and the reason."""
    draw(tmp_path / "data", "1.png")
    (tmp_path / "data" / "broken.jpg").write_bytes(b"no image")
    with lookalike.open(tmp_path / "photos.index", model=tiny_model) as index:
        report = index.add(tmp_path / "data")
    [skipped] = report.skipped
    assert (skipped.path, skipped.reason) == ("broken.jpg", errors.SkipReason.NOT_AN_IMAGE)
    assert (report.found, report.added) == (2, 1)


def test_labels_override_folders(tiny_model: lookalike.Model, draw: Draw, tmp_path: Path) -> None:
    """They are given as a mapping or as a CSV file."""
    draw(tmp_path / "data", "a/1.png", "a/2.png")
    table = tmp_path / "labels.csv"
    table.write_text("path,class\na/1.png,cat\n", encoding="utf-8")
    with lookalike.open(tmp_path / "photos.index", model=tiny_model) as index:
        index.add(tmp_path / "data", labels={"a/1.png": "dog", "a/2.png": None})
        assert index.classes == {"": 1, "dog": 1}
        index.add(tmp_path / "data", labels=table)
        assert index.classes == {"a": 1, "cat": 1}


def test_max_per_class_limits_the_images_added(
    tiny_model: lookalike.Model, images: Path, tmp_path: Path
) -> None:
    """A dry run counts them and stores nothing."""
    with lookalike.open(tmp_path / "photos.index", model=tiny_model) as index:
        assert index.add(images, max_per_class=3, dry_run=True).added == 7
        assert len(index) == 0
        assert index.add(images, max_per_class=3, seed=1).added == 7


def test_parts_of_a_folder_are_added_one_after_the_other(
    tiny_model: lookalike.Model, images: Path, tmp_path: Path
) -> None:
    """All of them make what adding the folder makes."""
    with lookalike.open(tmp_path / "photos.index", model=tiny_model) as index:
        added = [index.add(images, part=(number, 3)).added for number in (1, 2, 3)]
        again = index.add(images)
        assert (again.added, again.unchanged) == (0, sum(added))
        for bad in ("1/3", (1,), (1, 2, 3), (1.0, 3), (0, 3), (4, 3)):
            with pytest.raises(lookalike.errors.UsageError, match="part"):
                index.add(images, part=bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "given",
    [
        lambda file: file,
        str,
        lambda file: file.read_bytes(),
        lambda file: io.BytesIO(file.read_bytes()),
        Image.open,
        lambda file: np.asarray(Image.open(file)),
    ],
    ids=["path", "text", "bytes", "file", "pillow", "array"],
)
def test_a_query_may_be_a_path_bytes_a_file_pixels_or_a_pillow_image(
    index: lookalike.Index, draw: Draw, tmp_path: Path, given: Callable[[Path], Any]
) -> None:
    """All have the same neighbours with the same scores."""
    [file] = draw(tmp_path, "query.png", seed=5)
    assert places(index.search(given(file))) == places(index.search(file))
    assert len(index.search(given(file))) == 10


def test_a_query_may_be_a_feature_vector(
    index: lookalike.Index, tiny_model: lookalike.Model, draw: Draw, tmp_path: Path
) -> None:
    """The model's own vector is searched with, as float32 or float64."""
    [file] = draw(tmp_path, "query.png", seed=5)
    [vector] = tiny_model.embed([file])
    expected = places(index.search(file))
    assert places(index.search(vector)) == expected
    assert places(index.search(vector.astype(np.float64))) == expected
    assert index.search(vector).provider is None


def test_a_query_may_be_an_indexed_image(index: lookalike.Index, images: Path) -> None:
    """It is given by id, path, hit or point; itself and its exact duplicate are no neighbours."""
    point = next(point for point in index.points() if point.path == "cat/0.png")
    expected = [hit.path for hit in index.search(images / "cat/0.png")]
    assert not {"cat/0.png", "cat/copy.png"} & set(expected)
    hit = index.search(images / "cat/0.png", limit=1, include_self=True)[0]
    for given in (point, point.id, "cat/0.png", "photos/cat/0.png", hit):
        assert [each.path for each in index.search(given)] == expected


def test_include_self_keeps_exact_duplicates(index: lookalike.Index, images: Path) -> None:
    """The file itself and an exact duplicate are the first hits."""
    answer = index.search(images / "cat/0.png", include_self=True, limit=2)
    assert {hit.path for hit in answer} == {"cat/0.png", "cat/copy.png"}
    assert answer[0].score == pytest.approx(1, abs=SCORE_TOLERANCE)


def test_an_answer_lists_the_exact_duplicates_it_leaves_out(
    index: lookalike.Index, images: Path, tiny_model: lookalike.Model, tmp_path: Path
) -> None:
    """The list is empty where there are none or they are hits; the same holds for a fused index."""
    answer = index.search(images / "cat/0.png")
    assert [(point.path, point.file) for point in answer.left_out] == [
        ("cat/copy.png", images / "cat/copy.png")
    ]
    assert answer.left_out_total == 1
    for without in (
        index.search(images / "dog/0.png"),
        index.search(images / "cat/0.png", include_self=True),
    ):
        assert (without.left_out, without.left_out_total) == ([], 0)
    with lookalike.open(tmp_path / "other", model=tiny_model, distance="euclid") as other:
        other.add(images, dataset="photos")
        fused = lookalike.fuse([index, other]).search(images / "cat/0.png")
    assert [point.path for point in fused.left_out] == ["cat/copy.png"]


def test_pages_continue_where_the_last_one_ended(index: lookalike.Index, images: Path) -> None:
    """Each hit is on one page with its rank among all, for one image and for many."""
    whole = index.search(images / "dog/0.png", limit=25)
    pages = [index.search(images / "dog/0.png", limit=5, offset=start) for start in range(0, 25, 5)]
    assert [hit for page in pages for hit in page] == list(whole)
    [page] = index.search_many([images / "dog/0.png"], limit=5, offset=20)
    assert [hit.rank for hit in page] == [21, 22, 23, 24, 25]


def test_hits_reach_the_minimal_score(index: lookalike.Index, images: Path) -> None:
    """`min_score` is a similarity; `max_distance` is refused for a cosine index."""
    whole = index.search(images / "dog/0.png", limit=24)
    score = whole[6].score
    assert list(index.search(images / "dog/0.png", limit=24, min_score=score)) == [
        hit for hit in whole if hit.score >= score
    ]
    assert max(hit.score for hit in index.search(images / "dog/0.png", include_self=True)) <= 1
    with pytest.raises(errors.UsageError, match="are cosine similarities"):
        index.search(images / "dog/0.png", max_distance=1)


def test_an_unknown_class_is_an_error_with_similar_names(index: lookalike.Index, images: Path) -> None:
    """The error has them as data; `neighbours` of all images raises it, too."""
    where = lookalike.Where(class_name="dgo")
    for search in (
        lambda: index.search(images / "dog/0.png", where=where),
        lambda: index.neighbours(where=where),
        lambda: index.points(where),
        lambda: index.vectors(where),
    ):
        with pytest.raises(errors.UsageError, match=r"there is no class dgo in .*; nearest: dog") as refused:
            search()
        assert refused.value.choices == ("dog", "cat")


def test_a_search_is_filtered_by_class_and_dataset(index: lookalike.Index, images: Path) -> None:
    """It may be a class, no class, or a dataset; an unknown dataset is an error."""
    cats = index.search(images / "dog/0.png", where=lookalike.Where(class_name="cat"), limit=20)
    assert {hit.class_name for hit in cats} == {"cat"}
    [alone] = index.search(images / "dog/0.png", where=lookalike.Where(class_name=""))
    assert alone.path == "1.png"
    assert len(index.search(images / "dog/0.png", where=lookalike.Where(dataset="photos"))) == 10
    other = lookalike.Where(dataset="phtos")
    for search in (
        lambda: index.search(images / "dog/0.png", where=other),
        lambda: index.points(other),
        lambda: index.vectors(other),
        lambda: index.map(dataset="phtos"),
        lambda: index.evaluate(dataset="phtos"),
        lambda: index.duplicates(dataset="phtos"),
    ):
        with pytest.raises(errors.UsageError, match=r"no dataset phtos in .*; nearest: photos") as no:
            search()
        assert (no.value.argument, no.value.choices) == ("dataset", ("photos",))


def test_a_query_that_is_no_image_is_refused(index: lookalike.Index, tmp_path: Path) -> None:
    """A URL is not fetched, and arbitrary bytes are no image."""
    with pytest.raises(errors.ImageError, match="is a URL, which is not downloaded"):
        index.search("https://example.com/cat.jpg")
    for few in (b"a", b"abc"):
        with pytest.raises(errors.ImageError) as refused:
            index.search(few)
        assert refused.value.reason is errors.SkipReason.NOT_AN_IMAGE


def test_an_index_is_not_fused_with_itself(index: lookalike.Index) -> None:
    """The error is raised by `fuse`, before any search."""
    with pytest.raises(errors.UsageError, match="the same index is given twice") as refused:
        lookalike.fuse([index, index])
    assert refused.value.argument == "indexes"


def test_unknown_model_names_are_errors_with_the_known_ones() -> None:
    """The error has them as data."""
    with pytest.raises(errors.UsageError) as backbone:
        lookalike.Model("alexnet")
    assert (backbone.value.argument, backbone.value.choices) == ("backbone", ("resnet101v2", "vgg16"))
    with pytest.raises(errors.UsageError) as layer:
        lookalike.Model("vgg16", layer="block5_pol")
    assert layer.value.argument == "layer"
    assert layer.value.choices[0] == "block5_pool"
    assert "block1_conv1" in layer.value.choices


def test_hits_are_chosen_on_request(index: lookalike.Index, images: Path) -> None:
    """One of each class or folder, or unlike each other, in a search and for all images."""
    plain = index.search(images / "dog/0.png", limit=30)
    diverse = index.search(images / "dog/0.png", limit=30, diverse=0.7)
    assert [hit.path for hit in diverse] != [hit.path for hit in plain]
    assert {hit.path: hit.score for hit in diverse} == {hit.path: hit.score for hit in plain}
    assert diverse.verdict == plain.verdict
    one_per = index.search(images / "dog/0.png", one_per="class", diverse=0.7)
    assert sorted(hit.class_name or "" for hit in one_per) == ["", "cat", "dog"]
    everyone = index.neighbours(10, one_per="class", diverse=0.7)
    assert everyone.cut_off.tolist() == [0] * len(everyone)
    [(_, hits)] = [found for found in everyone if found[0].path == "dog/0.png"]
    assert [hit.path for hit in hits] == [hit.path for hit in one_per]
    for search in (partial(index.search, images / "dog/0.png"), index.neighbours):
        with pytest.raises(errors.UsageError, match="is not calibrated"):
            search(min_chance=0.8)
        with pytest.raises(errors.UsageError, match="one hit of each class is wanted"):
            search(one_per="class", where=lookalike.Where(class_name="cat"))


def test_near_duplicates_are_folded_on_request(index: lookalike.Index, images: Path) -> None:
    """They are folded into the nearest hit, in a search and for all images, above a cosine similarity."""
    plain = index.search(images / "dog/0.png", limit=30)
    folded = index.search(images / "dog/0.png", limit=30, without_near=True, near_above=0.9)
    assert 1 < len(folded) < len(plain) == 25
    assert [hit.rank for hit in folded] == list(range(1, len(folded) + 1))
    near = [each for hit in folded for each in hit.near]
    assert {each.path for each in near} | {hit.path for hit in folded} == {hit.path for hit in plain}
    assert {each.score for each in near} <= {hit.score for hit in plain}
    assert all(each.file == images / each.path for each in near)
    everyone = index.neighbours(30, without_near=True, near_above=0.9)
    [(_, hits)] = [found for found in everyone if found[0].path == "dog/0.png"]
    assert [{hit.path, *(each.path for each in hit.near)} for hit in hits] == [
        {hit.path, *(each.path for each in hit.near)} for hit in folded
    ]
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(errors.UsageError, match="near_above is"):
            index.search(images / "dog/0.png", without_near=True, near_above=wrong)
        with pytest.raises(errors.UsageError, match="near_above is"):
            index.neighbours(without_near=True, near_above=wrong)


def test_examples_go_with_a_search(index: lookalike.Index, images: Path) -> None:
    """They change the scores, and are no hits."""
    alone, together = (
        index.search(images / "dog/0.png", positives=also, limit=24)
        for also in ([], [images / "dog/1.png", images / "dog/2.png"])
    )
    assert not {"dog/1.png", "dog/2.png"} & {hit.path for hit in together}
    assert places(alone) != places(together)


def test_batches_are_answered_like_single_queries(index: lookalike.Index, images: Path) -> None:
    """Answers are in the order of queries; a folder stands for all images below it."""
    files = [images / "cat/1.png", images / "dog/1.png", images / "1.png"]
    answers = index.search_many(files, where=lookalike.Where(class_name="cat"))
    assert [answer.query for answer in answers] == [str(file) for file in files]
    for file, answer in zip(files, answers, strict=True):
        alone = index.search(file, where=lookalike.Where(class_name="cat"))
        assert [hit.path for hit in answer] == [hit.path for hit in alone]
    assert [answer.query for answer in index.search_many(images / "cat")] == [
        str(file) for file in sorted((images / "cat").iterdir())
    ]


def test_one_of_many_queries_may_be_unreadable(index: lookalike.Index, images: Path, tmp_path: Path) -> None:
    """It raises an error, or has an answer with the reason while the others are answered."""
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    files = [images / "cat/1.png", broken, images / "dog/1.png"]
    with pytest.raises(errors.ImageError) as caught:
        index.search_many(files)
    assert (caught.value.reason, caught.value.path) == (errors.SkipReason.NOT_AN_IMAGE, broken)
    answers = index.search_many(files, raise_errors=False)
    assert [len(answer) for answer in answers] == [10, 0, 10]
    assert isinstance(answers[1].error, errors.ImageError)
    assert answers[0].error is None


def test_what_is_no_image_is_refused(index: lookalike.Index, images: Path) -> None:
    """Every other object raises an error of the library."""
    for given in (17, np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros(3, np.int64)):
        with pytest.raises(errors.UsageError):
            index.search(given)  # type: ignore[arg-type]
    with pytest.raises(errors.UsageError, match="is a folder"):
        index.search(images)
    with pytest.raises(errors.UsageError, match="has 3 values"):
        index.search(np.ones(3, np.float32))
    with pytest.raises(errors.ImageError):
        index.search(images / "absent.png")


def test_arguments_out_of_their_range_are_refused(index: lookalike.Index, images: Path) -> None:
    """No image is read before that."""
    ranges: list[dict[str, Any]] = [{"offset": -1}, {"min_score": 1.5}, {"min_score": float("nan")}]
    for wrong in ({"limit": 0}, {"k": 0}, {"vote": "loud"}, {"rule": "rrf"}, *ranges, {"max_distance": -1}):
        with pytest.raises(errors.UsageError):
            index.search(images / "absent.png", **wrong)


def test_points_and_vectors_are_records_and_arrays(
    index: lookalike.Index, tiny_model: lookalike.Model, images: Path
) -> None:
    """Both have the same order; vectors of a cosine index have length 1."""
    ids, matrix = index.vectors()
    points = index.points()
    assert [point.id for point in points] == ids
    assert [point.path for point in points] == sorted(point.path for point in points)
    assert matrix.dtype == np.float32
    raw = tiny_model.embed(point.file for point in points)
    assert matrix == pytest.approx(raw / np.linalg.norm(raw, axis=1, keepdims=True), abs=1e-6)
    cats = lookalike.Where(class_name="cat")
    assert [point.id for point in index.points(cats)] == index.vectors(cats)[0]
    assert {point.class_name for point in index.points(cats)} == {"cat"}


def test_a_collection_is_opened_by_its_name(
    tiny_model: lookalike.Model, images: Path, tmp_path: Path
) -> None:
    """Its model is known for searching and adding; an unknown name is an error that lists the collections."""
    place = tmp_path / "photos.index"
    with lookalike.open(place, model=tiny_model, distance="euclid") as index:
        index.add(images)
        name, expected = index.collection, places(index.search(images / "cat/1.png"))
    for opened in (lookalike.open(place, collection=name), lookalike.open(place)):
        with opened as again:
            assert again.collection == name
            assert again.add(images).unchanged == 26
            assert places(again.search(images / "cat/1.png")) == expected
    with pytest.raises(errors.CollectionMissingError, match=name):
        lookalike.open(place, collection="other")
    with pytest.raises(errors.UsageError):
        lookalike.open(place, collection=name, model=tiny_model)


@pytest.mark.slow  # four ingests
def test_one_store_holds_a_collection_of_each_model_and_distance(
    tiny_model: lookalike.Model, tiny_weights: Path, images: Path, tmp_path: Path
) -> None:
    """A model and a distance open their own collection."""
    place = tmp_path / "photos.index"
    pool = lookalike.Model("vgg16", weights=tiny_weights, layer="block1_pool")
    names = set()
    for model in (tiny_model, pool):
        for distance in ("cosine", "euclid"):
            with lookalike.open(place, model=model, distance=distance) as index:
                index.add(images)
                names.add(index.collection)
    assert len(names) == 4
    with lookalike.open(place, model=pool, distance="euclid") as index:
        assert len(index) == 26
        assert "block1_pool" in index.collection
        assert index.collection.endswith("euclid")


def test_the_environment_names_the_default_store(
    tiny_model: lookalike.Model, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library reads the same variables as the commands."""
    monkeypatch.setenv("LOOKALIKE_STORE", f"embedded:{tmp_path / 'store'}")
    with lookalike.open(model=tiny_model) as index:
        index.add(images)
        assert index.store == f"embedded:{tmp_path / 'store'}"
    assert (tmp_path / "store").is_dir()


def test_an_empty_index_says_what_to_do(tiny_model: lookalike.Model, images: Path, tmp_path: Path) -> None:
    """Reading from it creates nothing."""
    with lookalike.open(tmp_path / "photos.index", model=tiny_model) as index:
        for use in (index.points, lambda: index.search(images / "cat/1.png"), index.evaluate):
            with pytest.raises(errors.CollectionMissingError, match="add a folder"):
                use()
    assert not (tmp_path / "photos.index").exists()


def test_a_with_block_releases_the_store(tiny_model: lookalike.Model, images: Path, tmp_path: Path) -> None:
    """Another index can open the store then; a closed index raises an error that says so."""
    place = tmp_path / "photos.index"
    with lookalike.open(place, model=tiny_model) as index:
        index.add(images)
    with lookalike.open(place, model=tiny_model) as other:
        assert len(other) == 26
    index.close()
    for use in (index.points, lambda: index.search(images / "cat/1.png"), lambda: index.add(images)):
        with pytest.raises(errors.UsageError, match="is closed"):
            use()


def test_deleted_files_are_pruned(tiny_model: lookalike.Model, images: Path, tmp_path: Path) -> None:
    """This needs `prune`; a moved folder is reported as moved."""
    root = shutil.copytree(images, tmp_path / "photos")
    with lookalike.open(tmp_path / "photos.index", model=tiny_model) as index:
        index.add(root)
        (root / "cat/1.png").unlink()
        assert index.add(root).removed == 0
        assert index.add(root, prune=True).removed == 1
        moved = root.rename(tmp_path / "moved")
        with pytest.raises(errors.UsageError):
            index.add(moved, dataset="photos")
        assert index.add(moved, dataset="photos", new_root=True).unchanged == 25


def test_a_collection_is_rebuilt(tiny_model: lookalike.Model, images: Path, tmp_path: Path) -> None:
    """It is searched as before, with quantized vectors."""
    with lookalike.open(tmp_path / "photos.index", model=tiny_model) as index:
        index.add(images)
        before = index.search(images / "cat/1.png")
        report = index.rebuild(quantize="int8")
        assert report.replaced
        assert report.points == 26
        assert index.manifest.vector_quantization == "int8"
        assert {hit.path for hit in index.search(images / "cat/1.png")} == {hit.path for hit in before}


def test_an_index_may_be_opened_again_in_one_process(
    tiny_model: lookalike.Model, images: Path, tmp_path: Path
) -> None:
    """A notebook's cell may be run twice; an unreferenced index releases its store."""
    place = tmp_path / "photos.index"
    for expected in (26, 0):
        index = lookalike.open(place, model=tiny_model)
        assert index.add(images).added == expected
        assert len(index.search(images / "cat/1.png")) == 10
    index.close()


def test_a_read_only_index_is_searched_and_refuses_writes(
    tiny_model: lookalike.Model, images: Path, tmp_path: Path
) -> None:
    """The error's `path` is its folder; neither a search nor a refused write changes a file."""
    place = tmp_path / "photos.index"
    with lookalike.open(place, model=tiny_model) as index:
        index.add(images)
        before = places(index.search(images / "cat/0.png"))
    files = read_contents(place)
    with read_only(place), lookalike.open(place, model=tiny_model) as index:
        assert places(index.search(images / "cat/0.png")) == before
        assert len(index) == 26
        assert len(index.points()) == 26
        for write in (
            lambda: index.add(images, prune=True),
            lambda: index.remove("photos"),
            index.rebuild,
            index.calibrate,
        ):
            with pytest.raises(errors.StoreError, match="is read-only") as caught:
                write()
            assert caught.value.path == place
        assert index.add(images, dry_run=True).unchanged == 26
    assert read_contents(place) == files


@pytest.mark.skipif(os.name == "nt", reason="there a lock cannot be looked at without taking it")
def test_an_index_names_the_process_that_fills_it(tiny_model: lookalike.Model, tmp_path: Path) -> None:
    """The error has it as `holder`, too."""
    place = tmp_path / "photos.index"
    with EmbeddedStore(place).local.ingesting(), lookalike.open(place, model=tiny_model) as index:
        with pytest.raises(
            errors.CollectionMissingError, match=rf"process {os.getpid()} .* adding"
        ) as caught:
            index.search(np.zeros((8, 8, 3), dtype=np.uint8))
        assert caught.value.holder is not None
        with pytest.raises(errors.CollectionMissingError, match="may be making it") as caught:
            lookalike.open(place, collection="vgg16-cosine")
        assert caught.value.holder is not None
    with lookalike.open(place, model=tiny_model) as index:
        with pytest.raises(errors.CollectionMissingError, match="add a folder of images first") as caught:
            index.search(np.zeros((8, 8, 3), dtype=np.uint8))
        assert caught.value.holder is None
