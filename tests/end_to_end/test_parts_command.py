"""Tests parts of a folder that several processes ingest into one server at the same time."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lookalike_core.stores.embedded import EmbeddedStore

Shell = Any  # conftest's classes; tests are no package, so they cannot be imported

KEYS = {name: value for name, value in os.environ.items() if name == "QDRANT_API_KEY"}
"""The API key of a real server, which the shell removes from the environment."""

TOTAL = 4
IMAGES = 24
VECTOR_TOLERANCE = 1e-6


@pytest.fixture
def own(own_names: str, qdrant: Any) -> Iterator[str]:
    """Returns the name of the collection that an ingest makes, which is removed at the end."""
    name = f"{own_names}euclid"
    yield name
    qdrant.client.delete_collection(name)


@pytest.fixture
def images(shell: Shell, draw: Any) -> Path:
    """Draws a folder of images, of which two are the same."""
    folder: Path = shell.folder / "pictures"
    draw(folder, *(f"{name}/{number}.png" for name in ("a", "b", "c") for number in range(8)))
    (folder / "b/0.png").write_bytes((folder / "a/0.png").read_bytes())
    return folder


def ingest(run: Any, shell: Shell, qdrant: Any, *words: str) -> Any:
    """Runs `ingest run` with the server, in this process (`shell`) or one of its own (`shell.process`)."""
    url = f"http://{qdrant.host}:{qdrant.port}"
    command = ["ingest", "run", "pictures", "--store", url, "--distance", "euclid", "--batch-size", "2"]
    return run(*command, *shell.model, *words, "--json", **KEYS)


def ingest_parts(shell: Shell, qdrant: Any, *words: str) -> list[Any]:
    """Runs all parts at once; returns the changes that each of them reports."""
    parts = [f"{number}/{TOTAL}" for number in range(1, TOTAL + 1)]
    with ThreadPoolExecutor(TOTAL) as pool:
        done = list(
            pool.map(lambda part: ingest(shell.process, shell, qdrant, "--part", part, *words), parts)
        )
    assert [each.code for each in done] == [0] * TOTAL, [each.err for each in done]
    assert [each.json[0]["part"] for each in done] == parts
    return [each.json[0]["collections"][0] for each in done]


def vectors_of(qdrant: Any, name: str) -> dict[str, Any]:
    """Returns path -> vector of all points; asserts that no path occurs twice."""
    records, _ = qdrant.client.scroll(name, limit=1000, with_vectors=True)
    found = {record.payload["path"]: np.asarray(record.vector, np.float32) for record in records}
    assert len(found) == len(records)
    return found


def test_four_parts_at_once_make_what_one_run_makes(
    shell: Shell, qdrant: Any, own: str, images: Path
) -> None:
    """They also find images unchanged, move and remove them at once."""
    assert shell("exporter", "run", *shell.model).code == 0
    assert sum(each["added"] for each in ingest_parts(shell, qdrant)) == IMAGES
    as_one = shell.folder / "as one"
    done = shell.ingest("pictures", "--store", f"embedded:{as_one}", "--distance", "euclid")
    assert done.code == 0, done.err
    found, store = vectors_of(qdrant, own), EmbeddedStore(as_one)
    with store.open(own) as collection:
        paths = {payload.id: payload.path for payload in collection.scan()}
        for point, vector in collection.vectors(list(paths)).items():
            np.testing.assert_allclose(found.pop(paths[point]), vector, atol=VECTOR_TOLERANCE)
    assert found == {}

    (images / "a").rename(images / "moved")
    (images / "c" / "0.png").unlink()
    changes = ingest_parts(shell, qdrant, "--prune")
    assert sum(each["unchanged"] for each in changes) == IMAGES - 9
    assert sum(each["moved"] + each["added"] for each in changes) == 8
    files = {file.relative_to(images).as_posix() for file in images.rglob("*.png")}
    assert vectors_of(qdrant, own).keys() == files
    (last,) = ingest(shell, shell, qdrant, "--prune").json
    assert (last["part"], last["collections"][0]["unchanged"]) == (None, IMAGES - 1)


@pytest.mark.parametrize("part", ["0/4", "5/4", "1", "x/4"])
def test_a_part_that_does_not_exist_is_exit_2(shell: Shell, part: str, images: Path) -> None:
    """The message names the option; nothing is written."""
    done = shell.ingest(images, "--part", part)
    assert done.code == 2
    assert "--part: " in done.err
    assert not (shell.folder / "home" / "qdrant").exists()


def test_a_part_is_named_in_the_report(shell: Shell, images: Path) -> None:
    """On an embedded store parts are ingested one after the other."""
    done = [shell.ingest(images, "--part", f"{number}/2") for number in (1, 2)]
    assert [each.code for each in done] == [0, 0]
    assert f"in {images}, part 2/2" in done[1].out
    counted = [int(each.out.split(": ")[1].split()[0]) for each in done]
    assert sum(counted) == IMAGES
    (report,) = shell.ingest(images, "--json").json
    assert report["collections"][0]["unchanged"] == IMAGES
