"""Tests that the tutorial's commands print what its pages show, with VGG16's weights."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs" / "tutorial" / name for name in ("first-index.md", "first-query.md")]
WEIGHTS = ROOT.parent / "shared" / "weights" / "vgg16_imagenet_notop.h5"
HOME = "/home/you"
"""What the pages show for the folder that they are run in."""

Shell = Any
"""The `Shell` of conftest.py."""


def steps() -> Iterator[tuple[list[str], str]]:
    """Yields the words of each command of the pages, in order, and what is shown below it."""
    for page in PAGES:
        for block in re.findall(
            r"^```console\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        ):
            for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                command, _, shown = step.partition("\n")
                yield command.split(), shown


def as_shown(text: str, folder: Path) -> list[str]:
    """Returns the lines of an output in the form of the pages: without times, widths and hashes.

    Readers have the official weights, whose collections have no fingerprint in their names.
    """
    text = text.replace(str(folder), HOME).replace("vgg16-w2cd5ce3e-cosine", "vgg16-cosine")
    text = re.sub(r"^.*: \d+ of \d+ images.*\n", "", text, flags=re.MULTILINE)  # progress, if it is slow
    text = re.sub(r"-[0-9a-f]{16}-r", "-HASH-r", text)
    text = re.sub(r"^[\d.]+ s,(?: [\d.]+ images/s,)?", "TIME,", text, flags=re.MULTILINE)
    return sorted(" ".join(line.split()) for line in text.splitlines())


def test_commands_that_are_shown_have_their_output() -> None:
    """Both pages have commands, and each has output."""
    assert len(list(steps())) == 6
    assert all(shown for _, shown in steps())


@pytest.mark.slow
def test_the_tutorial_prints_what_it_shows(make_shell: Callable[[Path], Shell], tmp_path: Path) -> None:
    """Lines of stdout and stderr are compared together, as a terminal mixes them."""
    if not WEIGHTS.is_file():
        pytest.skip(f"the weights of the tutorial are not in {WEIGHTS.parent}")
    shell = make_shell(tmp_path)
    home = str(tmp_path / ".local" / "share" / "lookalike")
    for words, shown in steps():
        weights = ["--weights", str(WEIGHTS)] if words[:2] == ["ingest", "run"] else []
        done = shell(*words, *weights, LOOKALIKE_HOME=home)
        assert done.code == 0, done.err
        assert as_shown(done.out + done.err, tmp_path) == as_shown(shown, Path(HOME)), words
