"""The tutorial: its blocks run in order, and print what the page shows."""

import contextlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from loaded_script import load_script
from lookalike_ingest.sample_images import draw_query, draw_sample

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorial" / "python.md"
WEIGHTS = Path(__file__).parents[3] / "shared" / "weights"
HOME = "/home/you"
"""What the page shows for the folder that it is run in."""

MODELS = {
    'lookalike.Model("vgg16")': 'lookalike.Model("vgg16", weights={vgg!r})',
    'lookalike.Model("resnet101v2")': (
        'lookalike.Model("resnet101v2", weights={resnet!r}, layer="conv5_block1_preact_relu")'
    ),
}
"""Readers have the official weights; tests the same values of VGG16, and 30 of ResNet101V2's 33 blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Code of the page, with its first line and the output that the page shows."""

    line: int
    code: str
    shown: str


def blocks() -> list[Block]:
    """Returns each block of Python, with the output below it."""
    text = PAGE.read_text(encoding="utf-8")
    found = re.finditer(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", text, re.MULTILINE | re.DOTALL)
    return [
        Block(line=text[: match.start(1)].count("\n"), code=match[1], shown=match[2] or "") for match in found
    ]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Changes into a folder with the images of `ingest sample`."""
    monkeypatch.chdir(tmp_path)
    draw_sample(Path("photos"))
    draw_query(Path("apple.jpg"), "apple")
    return tmp_path


def printed(folder: Path, vgg: Path, resnet: Path) -> Iterator[tuple[Block, str]]:
    """Runs the page, block by block in one namespace."""
    names: dict[str, object] = {}
    for block in blocks():
        code = block.code
        for named, tested in MODELS.items():
            code = code.replace(named, tested.format(vgg=str(vgg), resnet=str(resnet)))
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile("\n" * block.line + code, PAGE, "exec"), names)  # noqa: S102 - our own page
        yield block, out.getvalue().replace(str(folder), HOME)


def test_code_that_prints_is_shown_with_its_output() -> None:
    """Each path of a model is on the page once."""
    assert [block.line for block in blocks() if ("print(" in block.code) != bool(block.shown)] == []
    whole = "".join(block.code for block in blocks())
    assert {named: whole.count(named) for named in MODELS} == dict.fromkeys(MODELS, 1)


def test_the_notebook_has_the_blocks_of_the_page() -> None:
    """With what they print; `make reference` writes it."""
    script = load_script("scripts/notebook.py")
    text = (ROOT / "examples" / "tutorial.ipynb").read_text(encoding="utf-8")
    assert script.notebook_text(PAGE.read_text(encoding="utf-8")) == text
    code = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    python = [cell for cell in code if not cell["source"][0].startswith("!")]
    assert ["".join(cell["source"]) for cell in python] == [block.code.rstrip("\n") for block in blocks()]
    assert ["".join(line for out in cell["outputs"] for line in out["text"]) for cell in python] == [
        block.shown for block in blocks()
    ]


@pytest.mark.slow
def test_the_tutorial_prints_what_it_shows(folder: Path) -> None:
    """Every block is run in order, with the weights of both networks."""
    vgg, resnet = WEIGHTS / "vgg16_imagenet_notop.h5", WEIGHTS / "resnet101v2_imagenet_conv1_to_conv4.h5"
    if not (vgg.is_file() and resnet.is_file()):
        pytest.skip(f"the weights of the tutorial are not in {WEIGHTS}")
    for block, out in printed(folder, vgg, resnet):
        assert out == block.shown, f"{PAGE.name}:{block.line}"
