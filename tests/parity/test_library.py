"""The library as users write it, with real weights and photos, compared with the command."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CELLS = (
    """
import json
from PIL import Image
import lookalike

index = lookalike.open("photos.index", model=lookalike.Model("resnet101v2", weights=RESNET, layer=LAYER))
other = lookalike.open("photos.index", model=lookalike.Model("resnet101v2", weights=RESNET, layer=LAYER))
other.close(); index.close()
""",
    """
vgg = lookalike.Model("vgg16", weights=VGG)
index = lookalike.open("photos.index", model=vgg, distance="cosine")
report = index.add("photos", dataset="mine")
assert (report.added, report.skipped[0].reason) == (len(PATHS), "not-an-image")
answer = index.search(PATHS[0], limit=10)
for hit in answer: print(json.dumps([hit.rank, hit.score, hit.class_name, hit.path]))
""",
    """
cats = index.search_many(PATHS[:3], where=lookalike.Where(class_name=answer[0].class_name))
assert [answer[0].class_name in {hit.class_name for hit in each} for each in cats] == [True] * 3
vectors = vgg.embed([PATHS[0], Image.open(PATHS[1])])
assert (vectors.shape, str(vectors.dtype)) == ((2, 512), "float32")
ids, matrix = index.vectors(); points = index.points()
assert matrix.shape == (len(ids), 512) and [point.id for point in points] == ids
metrics = index.evaluate(); metrics.precision_at_10.value; metrics.precision_at_10.low
index.calibrate(); index.neighbours(k=10); index.duplicates(); index.explain(PATHS[0], PATHS[1]); index.map()
""",
    """
other = lookalike.open("other.index", model=lookalike.Model("vgg16", weights=VGG, layer="block1_pool"))
other.add("photos", dataset="mine")
assert len(lookalike.fuse([index, other]).search(PATHS[0], rule="rrf")) == 10
other.remove("mine")
other.close(); index.close()
""",
)
"""A user's script except for file names; it prints ten lines of JSON."""


PHOTOS_A_CLASS = 2


@dataclass(frozen=True, kw_only=True)
class Desk:
    """A folder with `photos/` in it, and the code before the cells."""

    folder: Path
    given: str
    query: Path
    environment: dict[str, str]


@pytest.fixture
def desk(photos: Any, shared_weights: Callable[[str], Path], tmp_path: Path) -> Desk:
    """Makes a folder with photos of every class, enough for a calibration, and a file that is no image."""
    for file in photos[0]:
        folder = tmp_path / "photos" / file.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        if len(list(folder.iterdir())) < PHOTOS_A_CLASS:
            shutil.copyfile(file, folder / file.name)
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"no image")
    paths = sorted(str(file) for file in (tmp_path / "photos").glob("*/*.jpg"))
    vgg, resnet = (str(shared_weights(name)) for name in ("vgg16", "resnet101v2"))
    layer = "conv5_block1_preact_relu"
    return Desk(
        folder=tmp_path,
        given=f"PATHS, VGG, RESNET, LAYER = {paths!r}, {vgg!r}, {resnet!r}, {layer!r}\n",
        query=Path(paths[0]),
        environment=os.environ
        | {"LOOKALIKE_HOME": str(tmp_path / "home"), "LOOKALIKE_PROVIDER": "cpu", "QDRANT_URL": ""},
    )


def by_command(desk: Desk) -> list[list[Any]]:
    """Returns the ten neighbours in the JSON of `search query --json`."""
    done = subprocess.run(
        [Path(sys.executable).parent / "search", "query", desk.query, "--json"],
        env=desk.environment | {"LOOKALIKE_STORE": f"embedded:{desk.folder / 'photos.index'}"},
        capture_output=True,
        text=True,
        check=True,
    )
    hits = json.loads(done.stdout)["hits"]
    return [[hit["rank"], hit["score"], hit["class"], hit["path"]] for hit in hits]


def test_a_script_finds_the_same_as_the_command(desk: Desk) -> None:
    """The ten neighbours and their scores are equal to the last bit."""
    done = subprocess.run(
        [sys.executable, "-c", desk.given + "".join(CELLS)],
        cwd=desk.folder,
        env=desk.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == 10
    assert found == by_command(desk)


def test_a_notebook_finds_the_same_as_the_command(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ten neighbours and their scores are equal to the last bit."""
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    from nbformat.v4 import new_code_cell, new_notebook

    for name, value in desk.environment.items():
        monkeypatch.setenv(name, value)
    notebook = new_notebook(cells=[new_code_cell(cell) for cell in (desk.given, *CELLS)])
    nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(desk.folder)}}
    ).execute()
    printed = "".join(
        output["text"]
        for output in notebook.cells[2]["outputs"]
        if output["output_type"] == "stream" and output["name"] == "stdout"
    )
    found = [json.loads(line) for line in printed.splitlines()]
    assert len(found) == 10
    assert found == by_command(desk)
