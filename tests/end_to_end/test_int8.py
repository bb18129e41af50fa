"""Tests int8 from the folder to the answer: all datasets and distances share one space."""

import shutil
from typing import Any


def test_an_int8_collection_is_calibrated_once(shell: Any, draw: Any) -> None:
    """A second dataset and a second distance share the space; a lost model is made again with equal hits."""
    draw(shell.folder / "one", *(f"{name}.png" for name in "abcd"))
    draw(shell.folder / "two", *(f"{name}.png" for name in "efgh"), seed=3)
    int8 = (*shell.model, "--layer", "block1_pool", "--precision", "int8")  # needs a second convolution
    first = shell("ingest", "run", "one", *int8, "--json")
    assert first.code == 0, first.err
    (made,) = first.json[0]["collections"]
    assert made["name"].startswith("vgg16-block1_pool-int8-w")
    again = shell("ingest", "run", "two", *int8, "--distance", "cosine", "--distance", "euclid", "--json")
    assert again.code == 0, again.err
    assert "measuring activation ranges" not in again.err
    assert [collection["added"] for collection in again.json[0]["collections"]] == [4, 4]
    query = ("search", "query", shell.folder / "one" / "a.png", "--collection", made["name"], "--json")
    hits = shell(*query).json[0]["hits"]
    shutil.rmtree(shell.folder / "home" / "models")
    assert shell(*query).json[0]["hits"] == hits
    assert shell("ingest", "rebuild", made["name"]).code == 0
    assert shell(*query).json[0]["hits"] == hits
