"""Tests `search explain` and `search map`: their figures, their pages, their refusals."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

SUM_TOLERANCE = 1e-5
"""Tolerance between the sum of all shares and the collection's score, which Qdrant sums in float32."""


@pytest.fixture(scope="module")
def library(make_shell: Callable[[Path], Any], tmp_path_factory: pytest.TempPathFactory, draw: Any) -> Any:
    """Returns a shell beside `images/`, 24 of them in three classes, which two collections hold."""
    shell = make_shell(tmp_path_factory.mktemp("explained"))
    names = [f"{kind}/{number}.png" for kind in ("cat", "dog", "eel") for number in range(8)]
    draw(shell.folder / "pictures", *names)
    done = shell.ingest("pictures", "--distance", "cosine", "--distance", "euclid")
    assert done.code == 0, done.err
    return shell


def new_names_in(folder: Path, *, before: set[Path]) -> set[str]:
    """Returns the names that are in a folder now and were not before."""
    return {path.name for path in set(folder.iterdir()) - before}


def test_shares_sum_to_the_score_of_search_query(library: Any) -> None:
    """This holds for files and for indexed images; the maps of both images are complete."""
    [answer] = library("search", "query", "pictures/cat/0.png", "--distance", "cosine", "--json").json
    hit = answer["hits"][0]
    done = library("search", "explain", "pictures/cat/0.png", hit["path"], "--distance", "cosine", "--json")
    assert done.code == 0, done.err
    [found] = done.json
    head = ["schema", "query", "neighbour", "collection", "backbone", "layer", "pooling", "distance"]
    vectors = ["score", "cosine", "query_vector", "neighbour_vector", "agreement"]
    shares = ["query_shares", "neighbour_shares", "pairs"]
    assert list(found) == [*head, "provider", "filled_on", "store", *vectors, *shares]
    assert found["score"] == found["cosine"] == pytest.approx(hit["score"], abs=SUM_TOLERANCE)
    for side in ("query_shares", "neighbour_shares"):
        assert np.sum(found[side]) == pytest.approx(hit["score"], abs=SUM_TOLERANCE)
        assert np.shape(found[side]) == (14, 14)
    parts = [pair["part"] for pair in found["pairs"]]
    assert parts == sorted(parts, reverse=True)


def test_an_image_from_standard_input_is_explained(library: Any) -> None:
    """The result is that of the same file; the text names the score and the collection."""
    data = (library.folder / "pictures/cat/1.png").read_bytes()
    piped = library("search", "explain", "-", "dog/0.png", "--distance", "cosine", data=data)
    named = library("search", "explain", "pictures/cat/1.png", "dog/0.png", "--distance", "cosine")
    assert (piped.code, named.code) == (0, 0)
    assert piped.out.splitlines()[1:] == [
        line.replace("pictures/cat/1.png", "-") for line in named.out.splitlines()[1:]
    ]
    assert "cosine similarity 0." in piped.out
    assert "of 196 cells" in piped.out


def test_the_source_of_each_vector_is_named(library: Any) -> None:
    """A file is embedded, as in a search; of an indexed image the stored vector is compared."""
    words = ["search", "explain", "--distance", "cosine"]
    done = library(*words, "pictures/cat/0.png", "pictures/cat/1.png")
    filled = "the neighbour's stored; the collection was filled on CPUExecutionProvider"
    assert f"vectors: the query's computed here, {filled}\n" in done.out
    assert "cells: computed here on CPUExecutionProvider; they agree" in done.out
    done = library(*words, "cat/0.png", "cat/1.png")
    assert f"vectors: the query's stored, {filled}\n" in done.out


def test_a_euclidean_distance_is_explained_by_the_cosine(library: Any) -> None:
    """The score is the query's distance; the shares sum to the cosine of the same two vectors."""
    words = ["pictures/cat/0.png", "--distance", "euclid", "--json"]
    hit = library("search", "query", *words).json[0]["hits"][0]
    [found] = library("search", "explain", words[0], hit["path"], *words[1:]).json
    assert found["score"] == pytest.approx(hit["score"], rel=SUM_TOLERANCE)
    for side in ("query_shares", "neighbour_shares"):
        assert np.sum(found[side]) == pytest.approx(found["cosine"], abs=SUM_TOLERANCE)


def test_the_page_is_written_completely(library: Any) -> None:
    """It has both images and their cells; no temporary file is left in the folder."""
    before = set(library.folder.iterdir())
    done = library(
        "search", "explain", "cat/1.png", "dog/0.png", "--distance", "euclid", "--html", "why.html"
    )
    assert done.code == 0, done.err
    assert new_names_in(library.folder, before=before) == {"why.html"}
    text = (library.folder / "why.html").read_text(encoding="utf-8")
    assert text.count('<rect class="cell heat-') == 2 * 196
    assert text.count("data:image/") == 2
    assert "the collection compares by Euclidean distance" in done.out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["-", "-"], 2, "standard input can be read only once"),
        (["pictures/cat", "cat/1.png"], 2, "is a folder; name one image"),
        (["cat/99.png", "cat/1.png"], 4, "no image of"),
        (["cat/0.png", "cat/1.png", "--html", "."], 2, "is a folder; name the file"),
        (["cat/0.png", "cat/1.png", "--collection", "nothing"], 6, "there is no collection nothing"),
        (["cat/0.png", "cat/1.png", "--backbone", "both"], 6, "a collection of each network is needed"),
        (["broken.png", "cat/1.png"], 4, "broken.png"),
    ],
)
def test_invalid_explanations_are_refused(library: Any, words: list[str], code: int, said: str) -> None:
    """One line names the fault, with its exit code, and there is no result."""
    (library.folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    done = library("search", "explain", *words)
    assert (done.code, done.out) == (code, "")
    assert said in done.err


def test_a_collection_of_another_pooling_is_refused(shell: Any, draw: Any) -> None:
    """Its score is no sum over cells; the message names a remedy."""
    draw(shell.folder / "pictures", "cat/0.png", "cat/1.png")
    assert shell.ingest("pictures", "--pooling", "max").code == 0
    done = shell("search", "explain", "cat/0.png", "cat/1.png")
    assert (done.code, done.out) == (2, "")
    assert "keep only each channel's largest value" in done.err
    assert "--pooling avg" in done.err


def test_an_indexed_image_whose_file_is_gone_is_refused(library: Any, tmp_path: Path) -> None:
    """Its vector is stored, but its features can only be computed from the file."""
    gone = library.folder / "pictures/eel/7.png"
    kept = shutil.copy(gone, tmp_path / "7.png")
    gone.unlink()
    try:
        done = library("search", "explain", "eel/7.png", "cat/0.png", "--distance", "cosine")
    finally:
        shutil.copy(kept, gone)
    assert (done.code, done.out) == (4, "")
    assert "eel/7.png does not exist" in done.err


def test_a_map_has_a_place_for_every_image(library: Any) -> None:
    """The same seed gives the same places; the page holds each thumbnail once."""
    words = ["search", "map", "--distance", "cosine", "--json", "--html"]
    done = library(*words, "map.html")
    assert done.code == 0, done.err
    [found] = done.json
    head = ["schema", "collection", "store", "html", "pictures", "total", "seed", "method", "perplexity"]
    figures = ["kl_divergence", "landmarks", "trustworthiness", "same_class_on_map", "same_class_in_space"]
    assert list(found) == [*head, *figures, "places"]
    assert (found["pictures"], found["total"], found["method"]) == (24, 24, "t-SNE")
    assert 0 < found["trustworthiness"] <= 1
    assert {place["class"] for place in found["places"]} == {"cat", "dog", "eel"}
    text = (library.folder / "map.html").read_text(encoding="utf-8")
    assert text.count("data:image/") == 24
    [again] = library(*words, "again.html").json
    assert again["places"] == found["places"]
    assert (library.folder / "again.html").read_text(encoding="utf-8") == text


def test_a_map_of_a_sample_says_so(library: Any) -> None:
    """The sample is stratified by class; so few images are placed by their principal components."""
    done = library("search", "map", "--distance", "euclid", "--limit", "3", "--html", "few.html")
    assert done.code == 0, done.err
    assert "3 images of 24, a random sample stratified by class, placed by principal components" in done.out
    assert "placing 3 of 24 images" in done.err
    text = (library.folder / "few.html").read_text(encoding="utf-8")
    assert "a random sample stratified by class" in text
    assert all(name in text for name in ("cat", "dog", "eel"))


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "--html"),
        (["--html", "map.html", "--dataset", "none"], 6, "no images of dataset none"),
        (["--html", "."], 2, "is a folder"),
        (["--html", "map.html", "--limit", "10001"], 2, "at most 10,000"),
        (["--json", "--limit", "100001"], 2, "--limit"),
        (["--html", "map.html", "--limit", "0"], 2, "--limit"),
        (["--html", "map.html", "--backbone", "resnet"], 6, "there is no collection resnet101v2"),
    ],
)
def test_invalid_maps_are_refused(library: Any, words: list[str], code: int, said: str) -> None:
    """One message with its exit code, and no result."""
    done = library("search", "map", *words)
    assert (done.code, done.out) == (code, "")
    assert said in done.err


def test_places_are_printed_without_a_page(library: Any) -> None:
    """They are the same, and no file is written."""
    words = ["search", "map", "--distance", "cosine", "--json"]
    [alone] = library(*words).json
    [drawn] = library(*words, "--html", "drawn.html").json
    assert (alone["html"], alone) == (None, drawn | {"html": None})


def test_identical_images_make_a_map(shell: Any) -> None:
    """All have one vector; the marks are spread out, with a notice that the places mean nothing."""
    folder = shell.folder / "pictures"
    folder.mkdir()
    for number in range(6):
        Image.new("RGB", (32, 32), "teal").save(folder / f"{number}.png")
    assert shell.ingest("pictures").code == 0
    done = shell("search", "map", "--html", "map.html")
    assert done.code == 0, done.err
    assert "all with the same vector: their places mean nothing" in done.out
    text = (shell.folder / "map.html").read_text(encoding="utf-8")
    assert text.count("(no class): ") == 6
    assert "All have the same vector" in text
