"""Records of analyses of an index, and their display."""

import html
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import lookalike
from lookalike import errors
from lookalike.notebook import ShownAsPage

DISTANCE_TOLERANCE = 1e-5
"""Numpy's sums of float32 against the store's."""


@pytest.fixture(scope="module")
def euclid(
    images: Path, tiny_model: lookalike.Model, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[lookalike.Index]:
    """Yields a Euclidean index of the same images, in a store of its own."""
    place = tmp_path_factory.mktemp("euclid") / "photos.index"
    with lookalike.open(place, model=tiny_model, distance="euclid") as one:
        one.add(images)
        yield one


def test_an_evaluation_has_figures_with_intervals(index: lookalike.Index) -> None:
    """Figures have names; values of single queries are arrays in the order of the points."""
    found = index.evaluate()
    for figure in (found.precision_at_1, found.precision_at_10, found.mean_average_precision):
        assert 0 <= figure.low <= figure.value <= figure.high <= 1
    assert found.values["precision_at_10"].mean() == pytest.approx(found.precision_at_10.value)
    assert len(found.points) == len(found.values["precision_at_10"]) == 25
    assert list(found.class_names) == ["cat", "dog"]
    assert found.confusion.shape == (2, 2)
    assert found.accuracy["majority"].value == index.evaluate(seed=1).accuracy["majority"].value
    assert [each.images for each in found.classes] == [13, 12]


def test_too_few_images_are_not_evaluated(tiny_model: lookalike.Model, images: Path, tmp_path: Path) -> None:
    """A single image with a class has no relevant images."""
    with lookalike.open(tmp_path / "photos.index", model=tiny_model) as index:
        index.add(images / "cat", labels={"1.png": "cat"})
        with pytest.raises(errors.UsageError, match="too few to evaluate"):
            index.evaluate()


def test_a_calibrated_index_gives_probabilities(
    tiny_model: lookalike.Model, images: Path, tmp_path: Path
) -> None:
    """The open index uses a new calibration at once; adding images drops it."""
    with lookalike.open(tmp_path / "photos.index", model=tiny_model) as index:
        index.add(images)
        query = images / "cat/1.png"
        assert index.search(query)[0].chance is None
        calibration = index.calibrate()
        assert calibration.classes == 2
        assert index.manifest.calibration == calibration
        chances = [hit.chance for hit in index.search(query) if hit.chance is not None]
        assert chances
        assert all(0 <= chance <= 1 for chance in chances)
        with_set = index.search(query, confidence=0.8)
        assert with_set.prediction_set is not None
        assert with_set.prediction_set.classes
        assert set(with_set.prediction_set.classes) <= {"cat", "dog"}
        assert "80 % prediction set" in with_set.to_html()
        (images.parent / "one").mkdir()
        (images.parent / "one" / "new.png").write_bytes(query.read_bytes())
        assert index.add(images.parent / "one").calibration_dropped
        assert index.search(query)[0].chance is None
        with pytest.raises(errors.UsageError, match="is not calibrated") as refused:
            index.search(query, confidence=0.8)
        assert refused.value.argument == "confidence"


def test_neighbours_of_all_are_those_of_each(index: lookalike.Index, images: Path) -> None:
    """They are given as arrays, and as points with hits."""
    found = index.neighbours(k=4)
    assert found.rows.shape == found.scores.shape == (26, 4)
    assert len(found) == 26
    for point, hits in found:
        assert point.file is not None
        answer = index.search(point.file, limit=4, exact=True)
        assert [hit.score for hit in hits] == pytest.approx(
            [hit.score for hit in answer], abs=DISTANCE_TOLERANCE
        )
    indexed = index.neighbours(k=4, exact=False)
    np.testing.assert_allclose(indexed.scores, found.scores, atol=DISTANCE_TOLERANCE)


def test_missing_neighbours_are_marked(index: lookalike.Index) -> None:
    """Rows are -1 and scores NaN."""
    found = index.neighbours(k=20, where=lookalike.Where(class_name="dog"))
    assert found.rows.shape == (12, 20)
    assert (found.rows[:, 11:] == -1).all()
    assert np.isnan(found.scores[:, 11:]).all()
    assert [len(hits) for _, hits in found] == [11] * 12


def test_duplicates_are_found_and_nothing_is_deleted(index: lookalike.Index, images: Path) -> None:
    """One of the two files with the same bytes is redundant."""
    found = index.duplicates(above=1)
    [group] = found
    assert {group.kept.payload.path, group.others[0].payload.path} == {"cat/0.png", "cat/copy.png"}
    assert found.redundant == [group.others[0].file]
    assert found.frees == group.frees
    assert (images / "cat/0.png").exists()
    assert (images / "cat/copy.png").exists()
    with pytest.raises(errors.UsageError):
        index.duplicates(keep_in=[images / "nothing"])


def test_a_similarity_is_explained_cell_by_cell(index: lookalike.Index, images: Path) -> None:
    """The shares of either image sum to the cosine, which is the score of a search."""
    found = index.explain(images / "cat/1.png", images / "cat/2.png")
    assert found.query_shares.sum() == pytest.approx(found.cosine)
    assert found.neighbour_shares.sum() == pytest.approx(found.cosine)
    scores = {hit.path: hit.score for hit in index.search(images / "cat/1.png", limit=25)}
    assert found.score == pytest.approx(scores["cat/2.png"], abs=DISTANCE_TOLERANCE)
    parts = [pair.part for pair in found.strongest_pairs(3)]
    assert parts == sorted(parts, reverse=True)
    assert len(parts) == 3


def test_a_map_has_a_place_for_each_point(index: lookalike.Index) -> None:
    """The same seed gives the same places; `limit` bounds the sample."""
    found = index.map(seed=3)
    assert found.places.shape == (26, 2)
    assert np.isfinite(found.places).all()
    assert len(found.points) == found.total == 26
    np.testing.assert_array_equal(found.places, index.map(seed=3).places)
    few = index.map(limit=5)
    assert (len(few.points), few.total) == (5, 26)


def test_an_attacker_is_measured_on_the_vectors(index: lookalike.Index) -> None:
    """The same seed gives the same figures; rows of both attackers come before those of baselines."""
    found = index.privacy(recognised=0, seed=3)
    assert found.images + found.details.duplicates == len(index)
    assert [row.attacker for row in found.rows if row.attacker is None] == [None] * 3
    assert found.rows == index.privacy(recognised=0, seed=3).rows
    assert all(row.recognised is None for row in found.rows)
    assert len(found.asymmetries) == 2
    with pytest.raises(errors.UsageError, match="limit is 24"):
        index.privacy(limit=24)
    with pytest.raises(errors.UsageError, match="no dataset phtos"):
        index.privacy(dataset="phtos")


def test_indexes_are_fused(index: lookalike.Index, euclid: lookalike.Index, images: Path) -> None:
    """All rules without calibration are tried; each hit has its placings in both indexes."""
    both = lookalike.fuse([index, euclid])
    query = images / "cat/1.png"
    answer = both.search(query, rule="rrf")
    assert [hit.rank for hit in answer] == list(range(1, 11))
    assert set(answer[0].placings) == {index.collection, euclid.collection}
    assert answer.collections == [index.collection, euclid.collection]
    assert len(both.search_many([query, images / "dog/1.png"], rule="zscore", limit=3)[1]) == 3
    with pytest.raises(errors.UsageError, match="calibrat"):
        both.search(query, rule="calibrated")
    with pytest.raises(errors.UsageError, match="at least two"):
        lookalike.fuse([index])
    with pytest.raises(errors.UsageError):
        both.search(np.ones(64, np.float32))


def test_a_fused_index_is_evaluated_beside_each_of_its_indexes(
    index: lookalike.Index,
    euclid: lookalike.Index,
    images: Path,
    tiny_model: lookalike.Model,
    tmp_path: Path,
) -> None:
    """The given rule is used; differences are over the same queries."""
    found = lookalike.fuse([index, euclid]).evaluate(rule="zscore")
    assert found.collection == f"{index.collection} + {euclid.collection} (zscore)"
    assert len(found.values["precision_at_1"]) == len(index.evaluate().values["precision_at_1"])
    compared = {frozenset([each.one, each.other]) for each in found.differences}
    assert compared == {frozenset([found.collection, alone.collection]) for alone in (index, euclid)}
    assert index.evaluate().differences == []
    with lookalike.open(tmp_path / "other", model=tiny_model) as other:
        other.add(images)
        with pytest.raises(errors.UsageError, match="same name"):
            lookalike.fuse([index, other]).evaluate()


def test_a_fitted_head_is_a_model(index: lookalike.Index, images: Path) -> None:
    """It is fitted to an index's classes, embeds images, and is measured on held-out images."""
    report = index.fit_head("pets", seed=1)
    assert report.made
    assert report.head.classes == ["cat", "dog"]
    vectors = lookalike.Model(head="pets").embed([images / "cat/1.png"])
    assert vectors.shape == (1, len(report.head.bias))
    assert not index.fit_head("pets", seed=1).made
    assert not lookalike.Model(head="pets").verify().failed


def test_heads_without_labels_are_models(index: lookalike.Index, images: Path) -> None:
    """They have no classes, and their vectors the asked number of values, or as many as the network's."""
    for options in ({"principal": 2}, {"unlabelled": True}):
        report = index.fit_head("plain", force=True, **options)  # type: ignore[arg-type]
        assert report.head.classes == []
        vectors = lookalike.Model(head="plain").embed([images / "cat/1.png"])
        assert vectors.shape == (1, options.get("principal", report.head.base.identity.dimension))
    with pytest.raises(errors.UsageError, match="both are ways to fit without labels"):
        index.fit_head("plain", unlabelled=True, principal=2)


def test_an_audit_names_what_is_wrong_and_writes_nothing(index: lookalike.Index) -> None:
    """The classes are noise alike, so that nothing is sure; a rate out of range is refused."""
    before = index.classes
    found = index.audit(files=True)
    assert found.details.images == len(index)
    assert found.faults is not None
    assert found.near_pairs == []
    assert index.classes == before
    assert f"Audit of {index.collection}" in found.to_html()
    for rate in (0, 1, "5%"):
        with pytest.raises(errors.UsageError, match=r"such as 0\.05"):
            index.audit(false_discoveries=rate)  # type: ignore[arg-type]


def shown(index: lookalike.Index, images: Path) -> list[ShownAsPage]:
    """Returns one of each record that is displayed as a page."""
    return [
        index.search(images / "cat/1.png"),
        index.duplicates(),
        index.evaluate(),
        index.map(),
        index.privacy(recognised=0),
        index.explain(images / "cat/1.png", images / "cat/2.png"),
    ]


def test_records_are_shown_as_pages(index: lookalike.Index, images: Path) -> None:
    """The frame runs its own scripts only, holds the thumbnails and requests nothing."""
    for record in shown(index, images):
        frame = record._repr_html_()
        [page] = re.findall(
            r'^<iframe srcdoc="([^"]*)" sandbox="allow-scripts" style="[^"]*"></iframe>$', frame
        )
        assert html.unescape(page) == record.to_html()
        assert "data:image/" in record.to_html()
        assert "Content-Security-Policy" in record.to_html()
        assert not re.search(r"""(src|href)=["']?https?:""", record.to_html())


def test_an_answer_shows_the_names_of_its_files(index: lookalike.Index, images: Path) -> None:
    """It names the query, the collection, and each hit with its class."""
    answer = index.search(images / "cat/1.png", limit=3)
    for text in (index.collection, "cat/1.png", *(hit.path for hit in answer)):
        assert text in answer.to_html()


def test_an_unreadable_query_shows_its_error(index: lookalike.Index, tmp_path: Path) -> None:
    """Its answer has no hits."""
    [answer] = index.search_many([tmp_path / "absent.png"], raise_errors=False)
    assert "absent.png" in answer.to_html()
    assert len(answer) == 0
