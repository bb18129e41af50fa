"""The library and the commands return the same, to the last bit."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lookalike


@dataclass(frozen=True, kw_only=True)
class Both:
    """An index, and the commands on the same store."""

    index: lookalike.Index
    images: Path
    ask: Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def both(
    make_shell: Callable[[Path], Any],
    images: Path,
    tiny_model: lookalike.Model,
    library_home: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Both]:
    """Yields both; commands run while the index is closed, since one process holds an embedded store."""
    folder = tmp_path_factory.mktemp("both")
    shell, place = make_shell(folder), folder / "photos.index"
    variables = {"LOOKALIKE_HOME": str(library_home), "LOOKALIKE_STORE": f"embedded:{place}"}
    answers: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    with lookalike.open(place, model=tiny_model) as index:
        index.add(images)
        index.calibrate()
    for words in COMMANDS:
        done = shell(*(word.replace("IMAGES", str(images)) for word in words), "--json", **variables)
        assert done.code == 0, done.err
        answers[words] = done.json
    with lookalike.open(place, model=tiny_model) as index:
        yield Both(index=index, images=images, ask=lambda *words: answers[words])


QUERY = ("search", "query", "IMAGES/cat/1.png", "IMAGES/dog/3.png")
NARROWED = ("search", "query", "IMAGES/cat/1.png", "--class", "dog", "--include-self", "--exact")
SETS = ("search", "query", "IMAGES/cat/1.png", "dog/3.png", "--confidence", "75%")
EXAMPLES = ("search", "query", "cat/1.png", "--and", "cat/2.png", "--not", "dog/1.png", "--limit", "4")
EVALUATE, STATUS = ("search", "evaluate"), ("ingest", "status")
NEIGHBOURS, DUPLICATES = ("search", "neighbours", "--limit", "5"), ("search", "duplicates")
EXPLAIN = ("search", "explain", "cat/1.png", "cat/2.png")
EXPORT = ("search", "export", "--class", "cat", "--output")
EXPORTS = ((*EXPORT, "cats.parquet", "--thumbnails"), (*EXPORT, "cats.npy"), (*EXPORT, "cats2.csv"))
STUDY = (*EVALUATE, "--k", "1,3", "--noise", "20", "--sample", "5")
COMMANDS = (
    QUERY,
    SETS,
    NARROWED,
    EXAMPLES,
    EVALUATE,
    STATUS,
    NEIGHBOURS,
    DUPLICATES,
    EXPLAIN,
    STUDY,
    *EXPORTS,
)


def hits(answer: lookalike.Answer) -> list[dict[str, Any]]:
    """Returns hits in the form of `search query --json`."""
    return [
        {
            "rank": hit.rank,
            "score": hit.score,
            "chance": hit.chance,
            "class": hit.class_name,
            "dataset": hit.dataset,
            "path": hit.path,
            "file": str(hit.file),
            "id": hit.id,
        }
        for hit in answer
    ]


def test_neighbours_equal_those_of_the_command(both: Both) -> None:
    """Rank, score and chance are equal, for one query and for several."""
    files = [both.images / "cat/1.png", both.images / "dog/3.png"]
    answers = both.index.search_many(files)
    for said, answer in zip(both.ask(*QUERY), answers, strict=True):
        assert hits(answer) == said["hits"]
        assert answer.provider == said["provider"]
        assert answer.unlike_anything == said["unlike_anything"]
        if answer.verdict is not None:
            assert answer.verdict.class_name == said["verdict"]["class"]
            assert answer.verdict_chance == said["verdict"]["chance"]
    assert len(answers[0]) == 10


def test_prediction_sets_equal_those_of_the_command(both: Both) -> None:
    """A percentage is a share in Python."""
    answers = both.index.search_many([both.images / "cat/1.png", "dog/3.png"], confidence=0.75)
    for said, answer in zip(both.ask(*SETS), answers, strict=True):
        found = answer.prediction_set
        assert found is not None
        assert said["prediction_set"] == {
            "confidence": 0.75,
            "classes": list(found.classes),
            "every_class": found.is_every_class,
            "pictures": found.images,
            "pictures_needed": 3,
        }


def test_filters_and_examples_equal_those_of_the_command(both: Both) -> None:
    """Each option has its argument."""
    narrowed = both.index.search(
        both.images / "cat/1.png",
        where=lookalike.Where(class_name="dog"),
        include_self=True,
        exact=True,
    )
    assert hits(narrowed) == both.ask(*NARROWED)[0]["hits"]
    examples = both.index.search("cat/1.png", positives=["cat/2.png"], negatives=["dog/1.png"], limit=4)
    assert hits(examples) == both.ask(*EXAMPLES)[0]["hits"]


def test_an_evaluation_equals_that_of_the_command(both: Both) -> None:
    """Figures, intervals, votes and the confusion are equal."""
    [said], found = both.ask(*EVALUATE), both.index.evaluate()
    for name in ("precision_at_1", "precision_at_5", "precision_at_10", "mean_average_precision"):
        figure = getattr(found, name)
        assert {"value": figure.value, "low": figure.low, "high": figure.high} == said[name]
    assert {rule: each.value for rule, each in found.accuracy.items()} == {
        rule: each["value"] for rule, each in said["accuracy"].items()
    }
    assert found.confusion.tolist() == said["confusion"]["neighbours"]
    assert found.best_possible == said["best_possible"]
    assert (found.alone, found.in_small_classes) == (said["alone"], said["in_small_classes"])


def test_a_study_of_votes_equals_that_of_the_command(both: Both) -> None:
    """Several k, and noise on a sample, have equal figures and comparisons."""
    [said] = both.ask(*STUDY)
    found = both.index.evaluate(k=[3, 1], noise=[20], sample=5).vote_study
    assert found is not None
    for part, each in zip(found.parts, said["vote_study"]["parts"], strict=True):
        assert (part.noise, len(part.rows)) == (each["noise"], each["pictures"])
        for votes in each["votes"]:
            figures = part.accuracy[votes["k"]]
            assert {rule: figure.value for rule, figure in figures.items()} == {
                rule: figure["value"] for rule, figure in votes["accuracy"].items()
            }
    assert [each.p for each in found.levels] == [each["p"] for each in said["vote_study"]["levels"]]
    assert both.index.evaluate(k=3).vote_study is None


def test_counts_equal_those_of_the_command(both: Both) -> None:
    """Points, datasets, classes and the manifest are equal."""
    [said] = both.ask(*STATUS)[0]["collections"]
    assert both.index.collection == said["name"]
    assert len(both.index) == said["points"]
    assert both.index.datasets == said["datasets"]
    assert both.index.classes == said["classes"]
    assert json.loads(json.dumps(both.index.manifest.to_json())) == said["manifest"]


def test_all_neighbours_equal_those_of_the_command(both: Both) -> None:
    """Every score of every image is equal."""
    found = both.index.neighbours(k=5)
    said = both.ask(*NEIGHBOURS)
    assert [point.path for point in found.points] == [each["path"] for each in said]
    np.testing.assert_array_equal(found.scores, [[hit["score"] for hit in each["hits"]] for each in said])


def test_duplicates_equal_those_of_the_command(both: Both) -> None:
    """Groups and the files to keep are equal."""
    said = both.ask(*DUPLICATES)
    found = both.index.duplicates()
    assert [group.kept.payload.path for group in found] == [each["kept"]["path"] for each in said]
    assert [[member.payload.path for member in group.others] for group in found] == [
        [other["path"] for other in each["others"]] for each in said
    ]


def test_exports_equal_those_of_the_command(both: Both, tmp_path: Path) -> None:
    """Files are equal to the byte."""
    for words in EXPORTS:
        [said] = both.ask(*words)
        file = Path(said["output"])
        report = both.index.export(
            tmp_path / file.name,
            where=lookalike.Where(class_name="cat"),
            thumbnails=file.suffix == ".parquet",
        )
        assert (report.images, report.dimension, report.bytes) == (13, 64, said["bytes"])
        assert report.file.read_bytes() == file.read_bytes()
        if report.table is not None:
            assert report.table.read_bytes() == Path(said["table"]).read_bytes()


def test_an_explanation_equals_that_of_the_command(both: Both) -> None:
    """Every share of every cell is equal."""
    [said], found = both.ask(*EXPLAIN), both.index.explain("cat/1.png", "cat/2.png")
    assert (found.score, found.cosine) == (said["score"], said["cosine"])
    assert found.query_shares.tolist() == said["query_shares"]
    assert found.neighbour_shares.tolist() == said["neighbour_shares"]
