"""Tests `search privacy`: its figures, its page, and what it does with files that cannot be used."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

CLASSES, OF_EACH = ("ant", "bee", "cow"), 12
FEW = ("--recognised", "0", "--limit", "40")


def draw_blocks(folder: Path) -> None:
    """Draws images of random blocks of colour in three classes, and a copy of one."""
    for number, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for image in range(OF_EACH):
            random = np.random.default_rng(100 * number + image)
            blocks = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            Image.fromarray(blocks).resize((64, 64), Image.Resampling.NEAREST).save(
                folder / name / f"{image:02}.png"
            )
    shutil.copy(folder / "ant/00.png", folder / "bee/copy.png")


@pytest.fixture(scope="module")
def library(make_shell: Callable[[Path], Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Returns a shell beside `album/`, which a cosine and a Euclidean collection hold."""
    shell = make_shell(tmp_path_factory.mktemp("privacy"))
    draw_blocks(shell.folder / "album")
    done = shell.ingest("album", "--distance", "cosine", "--distance", "euclid")
    assert done.code == 0, done.err
    return shell


def test_text_states_the_figures_of_this_attacker(library: Any) -> None:
    """It fits 100 columns, names both attackers, the baselines and chance, and leaves the copy out."""
    done = library("search", "privacy", "--distance", "cosine", *FEW, "--html", "privacy.html")
    assert done.code == 0, done.err
    assert max(map(len, done.out.splitlines())) <= 100
    for said in (
        "36 different images",
        "left out: 1 with the same bytes as others",
        "first of 7",
        "kernel ridge, trained on",
        "network, unseen classes",
        "nearest training image",
        "chance: 14.3% for the first, 100.0% for the first ten",
        "this attacker by network:",
        "a stronger one may see more",
    ):
        assert said in done.out
    assert "wrote " in done.err
    assert "This attacker" in (library.folder / "privacy.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("distance", ["cosine", "euclid"])
def test_json_has_every_group(library: Any, distance: str) -> None:
    """The original itself is recognised at least as often as chance; runs are repeatable."""
    words = ["search", "privacy", "--distance", distance, "--recognised", "4", "--seed", "2", "--json"]
    first, again = (library(*words) for _ in range(2))
    assert first.code == 0, first.err
    [found] = first.json
    assert first.json == again.json
    groups = [(each["attacker"], each["group"]) for each in found["groups"]]
    of_each = ["trained on", "unseen", "unseen classes"]
    assert groups == [
        *((attacker, group) for attacker in ("kernel ridge", "network") for group in of_each),
        *((None, group) for group in ("mean image", "nearest training image", "original, 32 x 32")),
    ]
    assert (found["images"], found["total"], found["duplicates"], found["trained_on"]) == (36, 36, 1, 29)
    assert all(0 <= each["recognised"]["value"] <= 1 for each in found["groups"])
    assert {each["embedded"] for each in found["groups"]} == {4}
    assert len(found["unseen_classes"]) == 1


def test_a_collection_of_principal_values_is_attacked(library: Any) -> None:
    """Its stored vectors are attacked, and its own model recognises what they give."""
    [cosine] = [
        each["name"]
        for each in library("ingest", "status", "--json").json[0]["collections"]
        if each["name"].endswith("-cosine")
    ]
    fitted = library("exporter", "fit", "--collection", cosine, "--name", "few", "--principal", "4")
    assert fitted.code == 0, fitted.err
    done = library("ingest", "run", "album", "--head", "few")
    assert done.code == 0, done.err
    done = library("search", "privacy", "--head", "few", "--recognised", "2")
    assert done.code == 0, done.err
    assert "vectors of 4 values" in done.out
    assert "kernel ridge, unseen " in done.out


def test_files_that_are_gone_or_changed_are_left_out(library: Any, tmp_path: Path) -> None:
    """They are counted by the reason, and the others are attacked."""
    changed, gone = library.folder / "album/ant/01.png", library.folder / "album/bee/02.png"
    shutil.copy(changed, tmp_path / "changed")
    shutil.move(gone, tmp_path / "gone")
    shutil.copy(library.folder / "album/cow/00.png", changed)
    try:
        done = library("search", "privacy", "--distance", "cosine", *FEW, "--json")
    finally:
        shutil.copy(tmp_path / "changed", changed)
        shutil.move(tmp_path / "gone", gone)
    assert done.code == 0, done.err
    assert done.json[0]["left_out"] == {"changed": 1, "gone": 1}
    assert done.json[0]["images"] == 34


def test_a_collection_without_its_files_is_refused(library: Any) -> None:
    """The message says how many are gone, and how they would be found again."""
    album = library.folder / "album"
    album.rename(library.folder / "elsewhere")
    try:
        done = library("search", "privacy", "--distance", "cosine", *FEW)
    finally:
        (library.folder / "elsewhere").rename(album)
    assert done.code == 2
    assert "0 of 36 images of" in done.err
    assert "36 gone" in done.err
    assert "ingest run DIR" in done.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--limit", "10"], 2, "25<=x<=5000"),
        (["--dataset", "albun"], 2, "no dataset albun"),
        (["--collection", "nothing"], 6, "no collection nothing"),
        (["--html", "album/ant/00.png"], 2, "--html"),
        (["--recognised", "-1"], 2, "--recognised"),
        (["--recognised", "0", "--threads", "2"], 2, "or embed some with --recognised"),
    ],
)
def test_invalid_attacks_are_refused(library: Any, words: list[str], code: int, said: str) -> None:
    """The exit code and the message say what is wrong."""
    done = library("search", "privacy", *words)
    assert done.code == code, done.err
    assert said in done.err


def test_too_few_images_are_refused(shell: Any) -> None:
    """The message says how many are needed."""
    (shell.folder / "few").mkdir()
    for number in range(5):
        Image.new("RGB", (32, 32), (50 * number, 0, 0)).save(shell.folder / "few" / f"{number}.png")
    assert shell.ingest("few").code == 0
    done = shell("search", "privacy")
    assert done.code == 2
    assert "holds 5 different images, too few to attack; 25 are needed" in done.err


def test_images_without_a_class_have_no_row_for_unseen_classes(shell: Any) -> None:
    """The text says so; the other rows are there."""
    folder = shell.folder / "loose"
    draw_blocks(folder)
    for number, path in enumerate(sorted(folder.glob("*/*.png"))):
        path.rename(folder / f"{number}.png")
    assert shell.ingest("loose").code == 0
    done = shell("search", "privacy", "--recognised", "3")
    assert done.code == 0, done.err
    assert "unseen classes are left out" in done.out
    assert "no class is recognised" in done.out
    assert "kernel ridge, unseen " in done.out
    assert "network, unseen classes" not in done.out
