"""Tests `search audit`: its findings, its JSON, its page, and the table for `ingest run --labels`."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_rules import read_page
from PIL import Image


@pytest.fixture(scope="module")
def ingested_album(make_shell: Callable[[Path], Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Ingests noise of three colours, one image in the wrong folder, and a copy of it in the right one."""
    shell = make_shell(tmp_path_factory.mktemp("audited"))
    folder = shell.folder / "album"
    for number, name in enumerate(("ant", "bee", "cow")):
        (folder / name).mkdir(parents=True)
        for image in range(15):
            random = np.random.default_rng(100 * number + image)
            pixels = random.integers(0, 60, (32, 32, 3))
            pixels[..., number] += random.integers(120, 190)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{image:02}.png")
    (folder / "bee/ant.png").write_bytes((folder / "ant/00.png").read_bytes())
    assert shell.ingest("album").code == 0
    return shell


@pytest.fixture
def album(shell: Any, ingested_album: Any) -> Path:
    """Returns the folder of the images, which `shell` has in a home of its own; tests leave the files."""
    shutil.copytree(ingested_album.folder / "home", shell.folder / "home")
    return Path(ingested_album.folder / "album")


def test_findings_are_shown_and_written(shell: Any, album: Path) -> None:
    """The image in the wrong folder is suspected, and a pair with its copy; outputs agree, files stay."""
    before = {file: file.read_bytes() for file in album.rglob("*.png")}
    outputs = ["--html", "a.html", "--csv", "a.csv", "--apply", "labels.csv", "--fdr", "50%", "--files"]
    done = shell("search", "audit", "--json", *outputs)
    assert done.code == 0, done.err
    [found] = done.json
    first = found["wrong_labels"][0]
    assert (first["path"], first["class"], first["suggested"]) == ("bee/ant.png", "bee", "ant")
    assert first["id"]
    pair = found["near_duplicates"][0]
    assert (pair["identical"], pair["across"]) == (True, ["classes"])
    assert {pair["first"]["path"], pair["second"]["path"]} == {"ant/00.png", "bee/ant.png"}
    with (shell.folder / "labels.csv").open(encoding="utf-8", newline="") as table:
        assert {"path": "bee/ant.png", "class": "ant", "class_before": "bee"} in list(csv.DictReader(table))
    with (shell.folder / "a.csv").open(encoding="utf-8", newline="") as table:
        assert len(list(csv.DictReader(table))) == sum(filter(None, found["found"].values()))
    page = read_page(shell.folder / "a.html")
    assert not page.problems
    assert "should be" in page.text
    assert {file: file.read_bytes() for file in album.rglob("*.png")} == before


@pytest.mark.parametrize("option", ["--apply", "--csv"])
def test_tables_replace_their_own_kind_alone(shell: Any, album: Path, option: str) -> None:
    """A table of labels that the user keeps is refused; the result of an earlier audit is replaced."""
    assert album.is_dir()
    own = shell.folder / "labels.csv"
    own.write_text("path,class\nant/00.png,ant\n", encoding="utf-8")
    done = shell("search", "audit", option, "labels.csv")
    assert (done.code, "is not replaced; name another file, or remove it" in done.err) == (2, True)
    assert own.read_text(encoding="utf-8") == "path,class\nant/00.png,ant\n"
    for _ in range(2):
        assert shell("search", "audit", option, "found.csv").code == 0


def test_suggested_classes_are_ingested(shell: Any, album: Path) -> None:
    """With the table as labels the suspects get their class, and are suspected no more."""
    assert shell("search", "audit", "--apply", "labels.csv", "--fdr", "50%").code == 0
    assert shell.ingest(album, "--labels", "labels.csv").code == 0
    [found] = shell("search", "audit", "--json", "--fdr", "50%").json
    assert "bee/ant.png" not in {each["path"] for each in found["wrong_labels"]}
    assert "bee/ant.png" in {path.relative_to(album).as_posix() for path in album.rglob("*.png")}


def test_labels_of_several_datasets_are_refused(shell: Any, album: Path) -> None:
    """One table is for one folder; with --dataset there is a table, and without --apply an audit."""
    for name in ("ant", "bee", "cow"):
        (shell.folder / "second" / name).mkdir(parents=True)
    copy = shell.folder / "second" / "cow/other.png"
    with Image.open(album / "ant/01.png") as image:
        image.rotate(180).save(copy)
    assert shell.ingest("second").code == 0
    done = shell("search", "audit", "--apply", "labels.csv", "--fdr", "50%")
    assert done.code == 2
    assert "wrong labels are in the datasets album, second" in done.err
    assert "--dataset album" in done.err
    assert not (shell.folder / "labels.csv").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fdr", "0"], "use a percentage above 0 and below 100"),
        (["--apply", "labels.txt"], "has to end in .csv"),
        (["--apply", "a.csv", "--csv", "a.csv"], "--csv and --apply both name"),
        (["--dataset", "albm"], "albm"),
    ],
)
def test_bad_options_are_refused(shell: Any, album: Path, options: list[str], message: str) -> None:
    """The message says what to give instead, and nothing is written."""
    assert album.exists()
    done = shell("search", "audit", *options)
    assert done.code == 2
    assert message in " ".join(done.err.split())
