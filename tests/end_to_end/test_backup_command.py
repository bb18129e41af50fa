"""`ingest backup` and `ingest restore`: output, refusals, and another home, with and without a head."""

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def name(shell: Any, draw: Any) -> str:
    """Ingests images of two classes; returns the name of their collection."""
    draw(shell.folder / "album", *(f"{kind}/{n}.png" for kind in ("cat", "dog") for n in range(6)))
    [report] = shell.ingest("album", "--json").json
    found: str = report["collections"][0]["name"]
    return found


def test_a_restored_collection_is_searched_from_another_home(shell: Any, name: str) -> None:
    """The model is exported again from the weights that the manifest names."""
    made = shell("ingest", "backup", name, "photos.tar")
    assert made.code == 0, made.err
    assert f"{name}: 12 points backed up to {shell.folder / 'photos.tar'}" in made.out
    checked = shell("ingest", "restore", "photos.tar", "--check")
    assert (checked.code, "sound, 12 points of" in checked.out) == (0, True)
    there = {"LOOKALIKE_HOME": str(shell.folder / "other")}
    restored = shell("ingest", "restore", "photos.tar", **there)
    assert (restored.code, restored.out.startswith(f"{name}: 12 points restored to embedded in")) == (0, True)
    query = ("search", "query", "album/cat/1.png", "--json")
    hits = [[hit["path"] for hit in shell(*query, **where).json[0]["hits"]] for where in ({}, there)]
    assert hits[0] == hits[1]
    again = shell.ingest("album", "--store", f"embedded:{shell.folder / 'other/qdrant'}", "--json")
    assert again.json[0]["collections"][0]["unchanged"] == 12


def test_a_head_comes_along(shell: Any, name: str) -> None:
    """Another home has neither it nor the images; another head of its name is not replaced."""
    fitted = shell("exporter", "fit", "--collection", name, "--name", "pets", "--principal", "4")
    assert fitted.code == 0, fitted.err
    report = shell("ingest", "run", "album", "--head", "pets", "--json").json[0]
    with_head = report["collections"][0]["name"]
    assert shell("ingest", "backup", with_head, "pets.tar", "--json").json[0]["head"] == "pets"
    there = {"LOOKALIKE_HOME": str(shell.folder / "other")}
    restored = shell("ingest", "restore", "pets.tar", **there)
    assert (restored.code, "and the head pets restored" in restored.out) == (0, True), restored.err
    head = (shell.folder / "other/heads/pets.npz").read_bytes()
    assert head == (shell.folder / "home/heads/pets.npz").read_bytes()
    assert shell("search", "query", "album/cat/1.png", "--collection", with_head, **there).code == 0

    third = {"LOOKALIKE_HOME": str(shell.folder / "third")}
    (shell.folder / "third/heads").mkdir(parents=True)
    (shell.folder / "third/heads/pets.npz").write_bytes(b"another")
    refused = shell("ingest", "restore", "pets.tar", **third)
    assert (refused.code, "is another head than that of" in refused.err) == (6, True)
    assert (shell.folder / "third/heads/pets.npz").read_bytes() == b"another"
    assert not (shell.folder / "third/qdrant" / with_head).exists()


def test_a_lost_head_is_said_and_the_points_are_backed_up(shell: Any, name: str) -> None:
    """The vectors are worth a backup without it."""
    shell("exporter", "fit", "--collection", name, "--name", "pets", "--principal", "4")
    report = shell("ingest", "run", "album", "--head", "pets", "--json").json[0]
    (shell.folder / "home/heads/pets.npz").unlink()
    made = shell("ingest", "backup", report["collections"][0]["name"], "pets.tar", "--json")
    assert (made.code, made.json[0]["head"]) == (0, None)
    assert "warning: the backup is without the head" in made.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["backup", "nothing", "a.tar"], 6, "list those that are there with: ingest status"),
        (["backup", "{name}", "album"], 2, "album is a folder"),
        (["backup", "{name}", "album/cat/1.png"], 2, "is a PNG and is not replaced"),
        (["backup", "{name}"], 2, "FILE"),
        (["restore", "nothing.tar"], 2, "there is no backup"),
        (["restore", "album/cat/1.png"], 1, "is not a backup of lookalike"),
        (["restore", "album/cat/1.png", "--check"], 1, "is not a backup of lookalike"),
        (["restore", "good.tar", "--check", "--store", "embedded"], 2, "leave the store out"),
        (["restore", "good.tar"], 6, "already; it was not changed"),
        (["restore", "cut.tar", "--store", "embedded:other"], 1, "is damaged, or not a backup"),
    ],
)
def test_wrong_usage_and_faults_are_said(
    shell: Any, name: str, words: list[str], code: int, said: str
) -> None:
    """With the exit code, and nothing left behind."""
    if "good.tar" in words or "cut.tar" in words:
        shell("ingest", "backup", name, "good.tar")
        data = (shell.folder / "good.tar").read_bytes()
        (shell.folder / "cut.tar").write_bytes(data[: len(data) // 2])
    done = shell("ingest", *(word.format(name=name) for word in words))
    assert (done.code, said in done.err) == (code, True), done.err
    other = Path(shell.folder / "other")
    assert not [path for path in other.glob("*") if path.is_dir()]
