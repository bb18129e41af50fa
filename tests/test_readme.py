"""Tests that the README is short and true: its image, its commands, their output and its Python."""

import contextlib
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import readme_image
from PIL import Image

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
IMAGE = ROOT / "docs" / "assets" / "ten-neighbours.png"
MODEL = 'model="vgg16"'

Shell = Any
"""The `Shell` of conftest.py."""


def block(language: str) -> str:
    """Returns the one block of a language in the README."""
    [found] = re.findall(
        rf"^```{language}\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    return str(found)


def commands() -> list[list[str]]:
    """Returns the words of each command in the README's console block."""
    lines = [line[2:] for line in block("console").splitlines() if line.startswith("$ ")]
    return [line.partition("#")[0].split() for line in lines]


def recorded() -> dict[str, Any]:
    """Returns what the image says of itself."""
    with Image.open(IMAGE) as image:
        return dict(json.loads(image.text[readme_image.TEXT_KEY]))  # type: ignore[attr-defined]


def test_the_readme_is_short() -> None:
    """It has at most 8 KB, and its image 150 KB; everything else is in the documentation."""
    assert README.stat().st_size <= 8 * 1024
    assert IMAGE.stat().st_size <= 150 * 1024


def test_shown_neighbours_are_those_of_the_image() -> None:
    """They were found by VGG16 among the 200 drawn images, by the script that drew the image."""
    rows = [line.split() for line in block("console").splitlines() if re.match(r" +\d+ ", line)]
    hits = [
        [str(hit["rank"]), f"{hit['score']:.4f}", hit["class"], hit["path"]] for hit in recorded()["hits"]
    ]
    assert recorded()["collection"].startswith("vgg16-")
    assert rows == hits[:3]
    assert len(hits) == 10


@pytest.mark.slow
def test_the_readme_runs_and_its_image_is_drawn(
    make_shell: Callable[[Path], Shell],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The commands and the Python run as they are shown, and the script after them, with the small model."""
    shell = make_shell(tmp_path)
    for words in commands():
        model = shell.model[2:] if words[:2] == ["ingest", "run"] else []
        done = shell(*words, *model)
        assert done.code == 0, done.err
    assert len(done.out.splitlines()) == 6, "the query, a heading, three neighbours, the verdict"

    monkeypatch.chdir(tmp_path)
    for name, value in shell.environment.items():
        monkeypatch.setenv(name, value)
    code = block("python")
    assert code.count(MODEL) == 1
    small = f'lookalike.Model("vgg16", layer="block1_conv1", weights={str(shell.weights)!r})'
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(code.replace(MODEL, f"model={small}"), README, "exec"), {})  # noqa: S102 - our own page
    first, *hits = out.getvalue().splitlines()
    assert first == "200 added, 0 skipped"
    assert [line.split()[0] for line in hits] == ["1", "2", "3"]

    drawn = tmp_path / "image.png"
    options = ["--layer", "block1_conv1", "--weights", str(shell.weights), "--folder", str(tmp_path)]
    readme_image.main([str(drawn), *options])
    with Image.open(drawn) as image, Image.open(IMAGE) as kept:
        assert image.size == kept.size
        found = json.loads(image.text[readme_image.TEXT_KEY])["hits"]  # type: ignore[attr-defined]
        assert [hit["rank"] for hit in found] == list(range(1, 11))
