"""Tests `search evaluate`: its figures, its JSON, its table, its refusals."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lookalike_core.stores.embedded import EmbeddedStore
from PIL import Image

FIGURES = [
    "precision_at_1",
    "precision_at_5",
    "precision_at_10",
    "mean_average_precision",
    "at_least_5_of_10",
]


def collection_names(shell: Any) -> list[str]:
    """Returns the collections of the shell."""
    return [found["name"] for found in shell("ingest", "status", "--json").json[0]["collections"]]


def test_figures_are_those_of_the_stored_vectors(ingested: Any) -> None:
    """The JSON object has the precision@1 that NumPy computes from the collection's vectors."""
    cosine = next(name for name in collection_names(ingested) if name.endswith("cosine"))
    done = ingested("search", "evaluate", "--collection", cosine, "--json")
    assert done.code == 0, done.err
    (found,) = done.json
    head = ["schema", "collection", "store", "pictures", "queries", "unlabelled", "near_identical"]
    small = ["alone", "in_small_classes"]
    error = "expected_calibration_error"
    assert list(found) == [
        *head,
        *small,
        *FIGURES,
        "best_possible",
        "k",
        "accuracy",
        error,
        "abstaining",
        "classes",
        "confusion",
        "confused",
        "wrong",
        "reliability",
        "differences",
        "fusion",
        "indexed",
        "head",
    ]
    unknown = [found[error], found["abstaining"], found["reliability"]]
    assert unknown == [None] * 3, "12 images are too few to tell"
    assert (found["schema"], found["collection"], found["pictures"]) == (1, cosine, 12)
    with EmbeddedStore(ingested.folder / "home/qdrant").open(cosine) as collection:
        payloads = list(collection.scan())
        stored = collection.vectors([payload.id for payload in payloads])
    vectors = np.stack([stored[payload.id] for payload in payloads])
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -1)
    nearest = [payloads[row].class_name for row in similarity.argmax(axis=1)]
    right = np.mean([payload.class_name == other for payload, other in zip(payloads, nearest, strict=True)])
    assert found["precision_at_1"]["value"] == pytest.approx(right, abs=1e-9)
    assert found["accuracy"].keys() == {"majority", "nearer-ties", "nearest-class", "weighted"}
    table = np.array(found["confusion"]["neighbours"])
    assert table.sum() == 12 * 10
    assert {tuple(cell) for cell in found["confusion"]["cells"]} == {
        (row, column, table[row, column]) for row, column in zip(*np.nonzero(table), strict=True)
    }
    for estimate in (found[key] for key in FIGURES):
        assert 0 <= estimate["low"] <= estimate["value"] <= estimate["high"] <= 1


def test_settings_are_compared_over_the_same_queries(ingested: Any) -> None:
    """The second line has the difference to the first, with its significance."""
    first, second = ingested("search", "evaluate", "--all", "--json").json
    assert first["differences"] == []
    (gain,) = (each for each in second["differences"] if each["figure"] == "precision_at_10")
    assert gain["to"] == first["collection"]
    expected = second["precision_at_10"]["value"] - first["precision_at_10"]["value"]
    assert gain["value"] == pytest.approx(expected, abs=1e-9)
    assert gain["pictures"] == 12
    assert 0 < gain["p"] <= 1
    assert gain["certain"] == ((gain["low"] > 0 or gain["high"] < 0) and gain["p"] < 0.05)
    out = ingested("search", "evaluate", "--all").out
    assert "corrected (Holm) for these 3 comparisons" in out
    assert f"precision@10 against {first['collection']}: " in out


def test_backbone_both_is_case_insensitive(ingested: Any) -> None:
    """`BOTH` is not taken for a backbone's name: the error names the missing collection."""
    done = ingested("search", "evaluate", "--backbone", "BOTH")
    assert done.code == 6
    assert "ingest run DIR --backbone resnet" in done.err


def test_a_random_sample_of_the_images_are_queries(ingested: Any) -> None:
    """`--queries` says how many; each is ranked among all images, and has a row in the CSV."""
    file = ingested.folder / "sample.csv"
    words = ("search", "evaluate", "--distance", "cosine", "--queries", "5", "--indexed", "--csv", file)
    (found,) = ingested(*words, "--json").json
    assert (found["pictures"], found["queries"]) == (12, 5)
    assert sum(count for _, _, count in found["confusion"]["cells"]) == 5 * 10
    assert found["indexed"]["overlap"]["value"] == 1
    with file.open(encoding="utf-8", newline="") as table:
        assert len(list(csv.DictReader(table))) == 5
    assert (
        "12 images of 3 classes, a random sample of 5 of them queries for the others" in ingested(*words).out
    )


def test_the_csv_has_a_row_for_each_query(ingested: Any) -> None:
    """It is valid CSV, and the mean of its column is the printed precision."""
    file = ingested.folder / "queries.csv"
    (found,) = ingested("search", "evaluate", "--distance", "cosine", "--csv", file, "--json").json
    with file.open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))
    assert len(rows) == 12
    assert {row["class"] for row in rows} == {"circle", "square", "stripes"}
    mean = np.mean([float(row["mean_average_precision"]) for row in rows])
    assert found["mean_average_precision"]["value"] == pytest.approx(mean, abs=1e-9)
    assert {row["verdict_majority"] for row in rows} <= {"circle", "square", "stripes"}


def test_the_text_names_what_was_left_out(ingested: Any) -> None:
    """It also has figures with intervals, verdicts, and classes, the worst first."""
    out = ingested("search", "evaluate", "--distance", "euclid", "--without-near", "--near-above", "0.9").out
    for words in ("12 images of 3 classes", "near-duplicates (similarity over 0.9)", "left out"):
        assert words in out
    for words in ("precision@10", "mean average precision", "verdict of 10 neighbours", "nearer-ties"):
        assert words in out
    shown = [line.split()[0] for line in out.splitlines()[-5:] if line.strip()]
    assert sorted(shown[-3:]) == ["circle", "square", "stripes"]


def test_invalid_evaluations_are_refused(shell: Any, draw: Any, tmp_path: Path) -> None:
    """No collection, no classes, contradicting options, or a folder as CSV file."""
    assert shell("search", "evaluate").code == 6
    draw(tmp_path / "plain", "1.png", "2.png", "3.png")
    shell.ingest("plain")
    done = shell("search", "evaluate")
    assert done.code == 2
    assert "holds 0 images with a class" in done.err
    assert "--labels" in done.err
    assert shell("search", "evaluate", "--all", "--collection", "x").code == 2
    assert shell("search", "evaluate", "--csv", tmp_path).code == 2
    assert shell("search", "evaluate", "--collection", "none").code == 6


def test_a_class_of_one_image_has_no_precision(shell: Any, draw: Any, tmp_path: Path) -> None:
    """It has no neighbour to find: the JSON has null, not zero, and is valid for strict parsers."""
    draw(tmp_path / "few", "cat/1.png", "dog/1.png", "dog/2.png")
    shell.ingest("few")
    done = shell("search", "evaluate", "--json")
    found = json.loads(done.out, parse_constant=lambda word: pytest.fail(f"{word} is not valid JSON"))
    cat, dog = found["classes"]
    assert cat["mean_average_precision"] == {"value": None, "low": None, "high": None}
    assert dog["mean_average_precision"]["value"] > 0
    assert dog["precision_at_1"]["low"] is dog["precision_at_1"]["high"] is None, "two are too few"
    out = shell("search", "evaluate").out
    assert "nan" not in out
    assert re.search(r"^precision@1 +1\.0000   - +1\.0000$", out, re.MULTILINE)
    assert re.search(r"^cat +1 +-   - +-   -$", out, re.MULTILINE)


def test_queries_of_single_image_classes_do_not_count(shell: Any, tmp_path: Path) -> None:
    """With four reds, one green and one blue, all figures are those of the reds, and perfect."""
    colours = {"a/green": "lime", "b/blue": "blue"} | {f"red/{i}": (255 - i, 0, 0) for i in range(4)}
    for name, colour in colours.items():
        (tmp_path / "few" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 48), colour).save(tmp_path / "few" / f"{name}.png")
    shell.ingest("few")
    file = tmp_path / "queries.csv"
    (found,) = shell("search", "evaluate", "--json", "--csv", file).json
    assert (found["alone"], found["in_small_classes"]) == (2, 4)
    assert found["best_possible"] == {
        "precision_at_1": 1,
        "precision_at_5": pytest.approx(0.6),
        "precision_at_10": pytest.approx(0.3),
        "mean_average_precision": 1,
        "at_least_5_of_10": 0,
    }
    for figure, best in found["best_possible"].items():
        assert found[figure]["value"] == pytest.approx(best), figure
    assert all(vote["value"] == 1 for vote in found["accuracy"].values())
    red = found["classes"][-1]
    assert red["best_possible"] == found["best_possible"]
    assert set(found["classes"][0]["best_possible"].values()) == {None}
    with file.open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))
    assert [row["others_of_class"] for row in rows] == ["0", "0", "3", "3", "3", "3"]
    assert [row["precision_at_1"] for row in rows] == ["", "", "1.0", "1.0", "1.0", "1.0"]
    out = shell("search", "evaluate").out
    assert "no other image of their class: 2 queries of 2 classes" in out
    assert "fewer than 10 others of their class: 4 queries of 1 class," in out
    assert re.search(r"^precision@10 +0\.3000   - +0\.3000$", out, re.MULTILINE)
    assert [line.split()[0] for line in out.splitlines()[-4:] if line] == ["red", "a", "b"]


def test_a_table_of_the_user_is_not_replaced(ingested: Any, tmp_path: Path) -> None:
    """A table of labels is a CSV file, too; an earlier table of an evaluation is replaced."""
    labels, table = tmp_path / "labels.csv", tmp_path / "queries.csv"
    labels.write_text("path,class\na.jpg,cat\n", encoding="utf-8")
    words = ("search", "evaluate", "--distance", "cosine", "--csv")
    done = ingested(*words, labels)
    assert done.code == 2
    assert "labels.csv is no result of an earlier run and is not replaced" in done.err
    assert labels.read_text(encoding="utf-8") == "path,class\na.jpg,cat\n"
    for _ in range(2):
        done = ingested(*words, table)
        assert done.code == 0, done.err
