"""Tests `search neighbours`: its tables, its files, its refusals."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from lookalike_search.commands.neighbours import COLUMNS

HEAD = "dataset,path,class,rank,score,neighbour_dataset,neighbour_path,neighbour_class"


def test_the_table_has_a_row_for_each_neighbour(ingested: Any) -> None:
    """Rows are ordered by image and rank; the first neighbour is a query's first hit."""
    done = ingested("search", "neighbours", "--distance", "cosine", "--limit", "3")
    assert done.code == 0, done.err
    assert "12 images, by brute force" in done.err
    assert done.out.splitlines()[0] == HEAD
    assert "\r" not in done.out
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert len(rows) == 12 * 3
    assert [row["path"] for row in rows] == sorted(row["path"] for row in rows)
    assert [row["rank"] for row in rows] == ["1", "2", "3"] * 12
    assert all(row["path"] != row["neighbour_path"] for row in rows)
    (asked,) = ingested(
        "search", "query", "--distance", "cosine", "pictures/circle/crimson.png", "--json"
    ).json
    own = [row for row in rows if row["path"] == "circle/crimson.png"]
    assert [row["neighbour_path"] for row in own] == [hit["path"] for hit in asked["hits"][:3]]
    assert [float(row["score"]) for row in own] == pytest.approx(
        [h["score"] for h in asked["hits"][:3]], abs=1e-5
    )
    assert {row["neighbour_class"] for row in rows} == {"circle", "square", "stripes"}


@pytest.mark.parametrize("distance", ["cosine", "euclid"])
def test_the_index_and_brute_force_find_the_same(ingested: Any, distance: str) -> None:
    """One JSON object an image, which names the method."""
    words = ("search", "neighbours", "--distance", distance, "--json")
    exact, indexed = ingested(*words, "--exact"), ingested(*words, "--indexed")
    assert "by brute force" in exact.err
    assert "by the store's own search" in indexed.err
    assert len(exact.json) == len(indexed.json) == 12
    for one, other in zip(exact.json, indexed.json, strict=True):
        assert list(one) == ["schema", "dataset", "path", "class", "hits"]
        assert one["path"] == other["path"]
        scores = [[hit["score"] for hit in each["hits"]] for each in (one, other)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-4)
        assert [hit["rank"] for hit in one["hits"]] == list(range(1, 11))


@pytest.mark.parametrize("way", ["--exact", "--indexed"])
def test_neighbours_are_chosen_as_in_a_query(ingested: Any, way: str) -> None:
    """One of each class, unlike each other; a chance needs a calibration."""
    choice = ("--distance", "cosine", "--one-per", "class", "--diverse", "0.5", "--limit", "3")
    done = ingested("search", "neighbours", way, *choice, "--json")
    assert done.code == 0, done.err
    (asked,) = ingested("search", "query", "pictures/circle/crimson.png", *choice, "--json").json
    [own] = [each["hits"] for each in done.json if each["path"] == "circle/crimson.png"]
    assert [hit["path"] for hit in own] == [hit["path"] for hit in asked["hits"]]
    assert {hit["class"] for hit in own} == {"circle", "square", "stripes"}
    for words in (("neighbours", way), ("query", "pictures/circle/crimson.png")):
        refused = ingested("search", *words, "--distance", "cosine", "--min-chance", "80%")
        assert refused.code == 2
        assert "is not calibrated; run: search calibrate --collection" in refused.err
    for option, value in (("--min-chance", "100%"), ("--one-per", "dataset"), ("--diverse", "nan")):
        assert ingested("search", "neighbours", option, value).code == 2


@pytest.mark.parametrize("way", ["--exact", "--indexed"])
def test_near_duplicates_are_folded_on_request(ingested: Any, way: str) -> None:
    """They are folded as in a query: CSV counts them in a last column, JSON lists them."""
    near = ("--distance", "cosine", "--limit", "2", "--without-near", "--near-above", "0.9")
    done = ingested("search", "neighbours", way, *near)
    assert done.code == 0, done.err
    assert "near-duplicates folded (similarity over 0.9)" in done.err
    assert done.out.splitlines()[0] == f"{HEAD},near"
    counts = [int(row["near"]) for row in csv.DictReader(io.StringIO(done.out))]
    found = ingested("search", "neighbours", way, *near, "--json").json
    assert [len(hit["near"]) for each in found for hit in each["hits"]] == counts
    assert any(counts)
    for each in found[:4]:
        (asked,) = ingested("search", "query", each["path"], "--k", "1", *near, "--json").json
        paths = [[hit["path"], *(other["path"] for other in hit["near"])] for hit in asked["hits"]]
        assert [[hit["path"], *(other["path"] for other in hit["near"])] for hit in each["hits"]] == paths


@pytest.mark.parametrize(
    ("name", "words", "is_json"),
    [
        ("t.csv", [], False),
        ("t.jsonl", [], True),
        ("t.NDJSON", [], True),
        ("plain", [], False),
        ("t.csv", ["--format", "jsonl"], True),
        ("t.jsonl", ["--format", "csv"], False),
    ],
)
def test_the_suffix_selects_the_file_format(
    ingested: Any, tmp_path: Path, name: str, words: list[str], is_json: bool
) -> None:
    """`--format` overrides the suffix; stdout is empty."""
    done = ingested("search", "neighbours", "--output", tmp_path / name, *words)
    assert (done.code, done.out) == (0, "")
    data = (tmp_path / name).read_bytes()
    assert b"\r" not in data
    first = data.decode().splitlines()[0]
    assert (json.loads(first)["schema"] == 1) if is_json else (first == HEAD)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_unusual_names_survive_csv(shell: Any, draw: Any, tmp_path: Path) -> None:
    """Paths have line breaks, quotes and commas, classes are missing, and copies are listed on request."""
    name = 'a "b",\nc\rd.png'
    draw(tmp_path / "odd", name, "cat/1.png")
    (tmp_path / "odd/copy.png").write_bytes((tmp_path / "odd" / name).read_bytes())
    assert shell.ingest("odd").code == 0
    assert shell("search", "neighbours", "--output", tmp_path / "table.csv").code == 0
    table = (tmp_path / "table.csv").read_bytes().decode()
    rows = list(csv.DictReader(io.StringIO(table, newline="")))
    assert [(row["path"], row["neighbour_path"]) for row in rows] == [
        (name, "cat/1.png"),
        ("cat/1.png", name),
        ("cat/1.png", "copy.png"),
        ("copy.png", "cat/1.png"),
    ]
    assert [row["class"] for row in rows] == ["", "cat", "cat", ""]
    with_copies = shell("search", "neighbours", "--include-self", "--json").json
    assert [len(each["hits"]) for each in with_copies] == [2, 2, 2]
    assert with_copies[0]["class"] is None
    assert with_copies[0]["hits"][0]["path"] == "copy.png"
    assert len(shell("search", "neighbours", "--class", "cat", "--json").json) == 1


def test_invalid_requests_are_refused(ingested: Any, tmp_path: Path) -> None:
    """Each has its exit code, and an existing output file stays unchanged."""
    kept = tmp_path / "kept.csv"
    kept.write_text(f"{','.join(COLUMNS)}\nof an earlier run\n", encoding="utf-8")
    before, own = kept.read_text(encoding="utf-8"), tmp_path / "own.csv"
    own.write_text("mine,yours", encoding="utf-8")
    for words, code in [
        (["--exact", "--indexed"], 2),
        (["--json", "--format", "csv"], 2),
        (["--output", tmp_path], 2),
        (["--collection", "none", "--output", kept], 6),
        (["--output", own], 2),
        (["--limit", "0"], 2),
        (["--output", kept / "below.csv"], 1),
        (["--class", "\udcff"], 2),  # a byte that is no UTF-8
        (["--path", "\udcff"], 2),
    ]:
        done = ingested("search", "neighbours", *words)
        assert (done.code, done.out) == (code, ""), words
        assert "Traceback" not in done.err
    assert kept.read_text(encoding="utf-8") == before
    assert own.read_text(encoding="utf-8") == "mine,yours"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["kept.csv", "own.csv"]
