"""Tests that the library leaves its host process unchanged, and that a user's modules do not shadow ours."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_exporter.spec import ModelSpec
from lookalike_ingest.request import Dataset, IngestRequest, StopRequest
from lookalike_ingest.run import run_ingest
from PIL import Image

Draw = Callable[..., list[Path]]
SUPPORT = Path(__file__).parent / "support"
KINDS = ("png", "jpg", "tif", "gif", "bmp")


@pytest.fixture
def images(tmp_path: Path, draw: Draw) -> Path:
    """Draws images of each kind in two classes, two of them with the same pixels."""
    root = tmp_path / "images"
    draw(root, *(f"{name}/{number}.{kind}" for name in "ab" for number in range(3) for kind in KINDS))
    with Image.open(root / "a/0.png") as image:
        image.save(root / "b/same.png")
    return root


def test_the_process_is_unchanged(images: Path, tmp_path: Path, tiny_weights: Path) -> None:
    """The host exports, ingests, queries, evaluates, and writes pages; nothing is printed.

    In a process of its own, in which every warning is an error and Pillow's limit is far below the images.
    """
    program = [sys.executable, SUPPORT / "host_program.py", images, tmp_path / "empty", tiny_weights]
    done = subprocess.run(program, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"our logger": [[], ["NullHandler"]]}
    assert done.stderr == ""


def test_the_host_s_pixel_limit_holds_while_a_thread_embeds(
    images: Path, home: Settings, tiny_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host reads its limit and opens images meanwhile; our own large images are still decoded."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000)
    request = IngestRequest(
        dataset=Dataset(name="data", root=images), specs=[tiny_spec], distances=[Distance.COSINE]
    )
    reports = []

    def embed() -> None:
        store = EmbeddedStore(home.qdrant_dir)
        reports.append(run_ingest(request, store=store, settings=home, stop=StopRequest()))

    thread = threading.Thread(target=embed)
    thread.start()
    looked = 0
    while thread.is_alive():
        assert Image.MAX_IMAGE_PIXELS == 1_000
        with pytest.raises(Image.DecompressionBombError), Image.open(images / "a/0.png"):
            pytest.fail("the image was opened in spite of the host's limit")
        looked += 1
    thread.join()
    assert looked
    assert (reports[0].skipped, reports[0].embedded) == ([], 2 * 3 * len(KINDS))


def test_a_user_s_modules_do_not_shadow_ours(shell: Any, images: Path) -> None:
    """They have the names of our folders, and neither a program there nor a command imports them."""
    for name in ("search", "core", "exporter", "models", "lookalike_mine"):
        (shell.folder / f"{name}.py").write_text("raise RuntimeError('a user\\'s own')\n")
    (shell.folder / "ingest").mkdir()
    (shell.folder / "ingest/__init__.py").write_text("raise RuntimeError('a user\\'s own')\n")
    program = (
        "import lookalike, lookalike_search.commands.app, lookalike_ingest.commands.app\n"
        "import lookalike_exporter.commands.app, lookalike_core.cli.console\n"
    )
    for words in (["-c", program], ["-m", "lookalike_ingest", "status"]):
        done = subprocess.run(
            [sys.executable, *words],
            cwd=shell.folder,
            env=shell.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr.replace("store: embedded\n", "")) == (0, "")
    ingested = shell.process("ingest", "run", images, *shell.model, "--json")
    assert ingested.json[0]["collections"][0]["added"] == 2 * 3 * len(KINDS) + 1
    assert len(shell.process("search", "query", images / "a/0.png", "--json").json[0]["hits"]) == 10
    assert shell.process("exporter", "list").code == 0
