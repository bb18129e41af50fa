"""Output in a notebook's kernel: pages, progress bars, and interruption."""

import html
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from sole_bar import SoleBar

import lookalike

nbclient = pytest.importorskip("nbclient", reason="nbclient and ipykernel are not installed")
pytest.importorskip("ipykernel", reason="ipykernel is not installed")

ROOT = Path(__file__).parents[2]

OPEN = """
import lookalike
model = lookalike.Model("vgg16", weights=WEIGHTS, layer="block1_conv1")
index = lookalike.open(PLACE, model=model)
"""

CELLS = (
    'index.add(IMAGES, dataset="mine").added',
    'answer = index.search(IMAGES + "/cat/1.png"); [(hit.score, hit.path) for hit in answer]',
    "answer",
    "index.duplicates()",
    "index.evaluate()",
    "index.map()",
    "len(index.search_many(IMAGES))",
    "index.close()",
)


def run(cells: tuple[str, ...], folder: Path) -> list[list[dict[str, Any]]]:
    """Returns the outputs of each cell, in a kernel of its own."""
    from nbformat.v4 import new_code_cell, new_notebook

    notebook = new_notebook(cells=[new_code_cell(cell) for cell in cells])
    client = nbclient.NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    return [cell["outputs"] for cell in notebook.cells]


def given(images: Path, weights: Path, place: Path) -> str:
    """Returns the names that the cells use."""
    return f"IMAGES, WEIGHTS, PLACE = {str(images)!r}, {str(weights)!r}, {str(place)!r}"


@pytest.fixture(scope="module")
def outputs(
    images: Path, tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[list[dict[str, Any]]]:
    """Returns the outputs of `CELLS`."""
    folder = tmp_path_factory.mktemp("notebook")
    return run((given(images, tiny_weights, folder / "photos.index") + OPEN, *CELLS), folder)[1:]


def result(output: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the value of a cell's last line, by media type."""
    [data] = [each["data"] for each in output if each["output_type"] == "execute_result"]
    return dict(data)


def test_a_notebook_gives_the_same_vectors_and_hits(
    outputs: list[list[dict[str, Any]]], index: lookalike.Index, images: Path
) -> None:
    """They are equal to the last bit."""
    assert result(outputs[0])["text/plain"] == "26"
    found = [(hit.score, hit.path) for hit in index.search(images / "cat/1.png")]
    # of copies either may come first
    assert sorted(eval(result(outputs[1])["text/plain"])) == sorted(found)  # noqa: S307 - numbers and names of our own


@pytest.mark.parametrize("cell", [2, 3, 4, 5])
def test_records_are_displayed_as_pages(outputs: list[list[dict[str, Any]]], cell: int) -> None:
    """A page is in a frame, with its thumbnails."""
    [page] = re.findall(r'<iframe srcdoc="([^"]*)"', result(outputs[cell])["text/html"])
    assert "data:image/" in html.unescape(page)


@pytest.mark.parametrize("cell", [0, 6])
def test_long_work_shows_a_progress_bar(outputs: list[list[dict[str, Any]]], cell: int) -> None:
    """The cell's output has a bar that reaches its end, and nothing else is printed."""
    shown = [each["data"]["text/html"] for each in outputs[cell] if each["output_type"] == "display_data"]
    assert any(re.search(r'<progress value="26" max="26">|: 26 images', each) for each in shown)
    assert not [each for each in outputs[cell] if each["output_type"] == "stream"]


def test_one_search_shows_no_bar(outputs: list[list[dict[str, Any]]]) -> None:
    """It is too short for a progress bar."""
    assert [each["output_type"] for each in outputs[1]] == ["execute_result"]


def test_outside_notebooks_no_bar_is_shown(
    index: lookalike.Index, images: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """`shown_by` can set a bar."""
    index.search_many(images)
    assert capfd.readouterr() == ("", "")
    bars = SoleBar()
    done: list[int] = []
    bars.advance = lambda count, **_: done.append(count)  # type: ignore[method-assign]
    with lookalike.progress.shown_by(bars):
        index.search_many(images)
    assert sum(done) == 26


@pytest.mark.parametrize("notebook", sorted(ROOT.glob("examples/*.ipynb")), ids=lambda path: path.name)
def test_notebooks_of_the_project_follow_the_format(notebook: Path) -> None:
    """Notebook servers refuse others, or mend them with a warning."""
    import nbformat

    nbformat.validate(nbformat.reads(notebook.read_text(encoding="utf-8"), as_version=4))


INTERRUPTED = """
import os, signal
from contextlib import contextmanager

class InterruptingBar:
    def advance(self, done, *, skipped=0):
        if done:
            os.kill(os.getpid(), signal.SIGINT)  # as the notebook's stop button does

    def set_total(self, total): pass

    def count_ahead(self, count): pass

@contextmanager
def show_bar(title, *, unit, total):
    yield InterruptingBar()

stopped = False
try:
    with lookalike.progress.shown_by(show_bar):
        index.add(IMAGES, dataset="mine", batch_size=4)
except KeyboardInterrupt:
    stopped = True
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot send itself an interrupt there")
def test_an_interrupted_cell_stops_and_the_next_goes_on(
    images: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    """Images that were written stay, the index stays usable, and none is embedded twice."""
    goes_on = 'again = index.add(IMAGES, dataset="mine")\n[stopped, again.unchanged, again.added, len(index)]'
    cells = (given(images, tiny_weights, tmp_path / "photos.index") + OPEN, INTERRUPTED, goes_on)
    *_, output = run(cells, tmp_path)
    stopped, unchanged, added, count = json.loads(result(output)["text/plain"].replace("True", "true"))
    assert stopped
    assert (unchanged >= 4, unchanged + added, count) == (True, 26, 26)
