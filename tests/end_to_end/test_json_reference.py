"""Tests that the commands print the records that docs/reference/json.md documents."""

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
from json_shape import find_differences
from PIL import Image
from watches import watching

LINES = {
    command: import_module(f"{package}.commands.json_records").LINES
    for command, package in reference.commands().items()
}


@pytest.fixture(scope="module")
def printed(make_shell: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], list[Any]]:
    """Returns command and subcommand -> the JSON objects that they print for a small folder."""
    shell = make_shell(tmp_path_factory.mktemp("json"))
    _draw_album(shell.folder / "album")
    found: dict[tuple[str, str], list[Any]] = {}
    for words in _commands(shell):
        done = shell(*words, "--json")
        assert done.code == (4 if "broken.png" in words else 0), (words, done.err)
        found.setdefault((words[0], words[1]), []).extend(done.json)
    found["ingest", "watch"] = _watch(shell)
    return found


def _watch(shell: Any) -> list[Any]:
    """Returns what a watch prints for a folder that it ingests, and one that holds no images."""
    (shell.folder / "nothing yet").mkdir()
    with watching(shell, "album", "nothing yet", *shell.model, "--json") as watch:
        watch.wait_for("watching")
    return watch.printed()


def _draw_album(folder: Path) -> None:
    """Draws coloured noise in three classes, a copy, a truncated file, and one that is no image."""
    for number, name in enumerate(("ant", "bee", "cow")):
        (folder / name).mkdir(parents=True)
        for image in range(12):
            random = np.random.default_rng(100 * number + image)
            pixels = random.integers(0, 120, (48, 48, 3))
            pixels[..., number] += random.integers(20, 130)
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name / f"{image:02}.png")
    whole = (folder / "ant/00.png").read_bytes()
    (folder / "ant/copy.png").write_bytes(whole)
    (folder / "loose.png").write_bytes((folder / "bee/01.png").read_bytes())
    (folder / "ant/cut.png").write_bytes(whole[:2000])
    (folder / "notes.txt").write_text("no image")
    (folder.parent / "broken.png").write_bytes(whole[:2000])


def _commands(shell: Any) -> Iterator[Sequence[str]]:
    """Yields the commands in an order in which each finds its inputs."""
    yield ["lookalike", "doctor", "--offline"]
    yield ["exporter", "run", *shell.model]
    other = ["--backbone", "vgg", "--layer", "block1_conv2", "--weights", str(shell.weights)]
    yield ["exporter", "run", *other, "--precision", "int8", "--calibrate", "album"]
    yield ["exporter", "list"]
    yield ["ingest", "run", "album", *shell.model, "--distance", "cosine", "--distance", "euclid"]
    yield ["ingest", "run", "album", *other]
    names = [each["name"] for each in shell("ingest", "status", "--json").json[0]["collections"]]
    (euclid,) = [name for name in names if name.endswith("-euclid")]
    first, second = sorted(name for name in names if name.endswith("-cosine"))
    yield ["search", "query", "album/ant/01.png", "broken.png", "--collection", first]
    yield ["exporter", "fit", "--collection", first, "--name", "pets", "--class", "ant", "--class", "bee"]
    yield ["ingest", "run", "album", "--head", "pets"]
    yield ["exporter", "verify", "--head", "pets"]
    yield ["search", "evaluate", "--head", "pets"]
    yield ["search", "evaluate", "--head", "pets", "--k", "1,5", "--noise", "10", "--sample", "4"]
    yield ["search", "calibrate", "--collection", first]
    yield ["ingest", "status"]
    yield ["search", "query", "album/ant/01.png", "--collection", first]
    yield [
        "search",
        "query",
        "ant/01.png",
        "--and",
        "ant/02.png",
        "--not",
        "bee/01.png",
        "--collection",
        first,
    ]
    yield ["search", "query", "album/ant/01.png", "--collection", first, "--collection", second]
    yield [
        "search",
        "evaluate",
        "--collection",
        first,
        "--collection",
        second,
        "--fusion",
        "rrf",
        "--indexed",
    ]
    near = ["--without-near", "--near-above", "0.5"]
    yield ["search", "query", "album/ant/01.png", "--collection", first, *near]
    yield ["search", "query", "album/ant/01.png", "--collection", first, "--collection", second, *near]
    yield ["search", "neighbours", "--collection", first, "--limit", "2"]
    yield ["search", "neighbours", "--collection", first, "--limit", "2", *near]
    yield ["search", "export", "--collection", first, "--output", "all.parquet", "--thumbnails"]
    yield ["search", "export", "--collection", first, "--output", "all.npy"]
    yield ["search", "duplicates", "--collection", first, "--above", "0.5"]
    yield ["search", "audit", "--collection", first, "--fdr", "90%", "--files"]
    yield ["search", "explain", "ant/01.png", "bee/01.png", "--collection", first]
    yield ["search", "map", "--collection", first, "--html", "map.html"]
    yield ["search", "privacy", "--collection", first, "--recognised", "2"]
    yield ["ingest", "import", "all.parquet"]
    yield ["ingest", "verify", euclid, "--sample", "3"]
    yield ["ingest", "rebuild", euclid, "--force"]
    yield ["ingest", "copy", euclid, "--to", "embedded:elsewhere"]
    yield ["ingest", "backup", euclid, "euclid.tar"]
    yield ["ingest", "restore", "euclid.tar", "--check"]
    yield ["ingest", "restore", "euclid.tar", "--store", "embedded:restored"]
    yield ["ingest", "remove", "--dataset", "album", "--collection", euclid, "--yes"]


@pytest.mark.parametrize(("room", "name"), [(room, name) for room in LINES for name in LINES[room]])
def test_every_line_has_a_documented_form(printed: Any, room: str, name: str) -> None:
    """Every key has its documented type; none is missing, and none undocumented."""
    for line in printed[room, name]:
        found = [list(find_differences(line, form, f"{room} {name}")) for form in LINES[room][name]]
        assert not all(found), min(found, key=len)


@pytest.mark.parametrize("form", range(len(LINES["search"]["query"])))
def test_each_form_of_an_answer_is_printed(printed: Any, form: int) -> None:
    """The forms for one collection, for several, and for an unreadable query."""
    records = LINES["search"]["query"][form]
    assert any(not list(find_differences(line, records)) for line in printed["search", "query"])


def test_differences_from_the_documented_form_are_found() -> None:
    """An extra key, a missing key and a wrong type are reported, each with its place."""
    (form,) = LINES["ingest"]["remove"]
    line = {
        "schema": 1,
        "dataset": "a",
        "paths": [],
        "classes": [],
        "store": "embedded",
        "collections": [{"name": "n", "removed": 1}],
    }
    assert list(find_differences(line, form)) == []
    assert list(find_differences(line | {"more": 1}, form)) == [".more is not documented"]
    assert list(find_differences(line | {"schema": 2}, form)) == [".schema: 2 is no typing.Literal[1]"]
    assert list(find_differences(line | {"collections": [{"removed": True}]}, form)) == [
        ".collections[0].name is documented and missing",
        ".collections[0].removed: True is no <class 'int'>",
    ]
