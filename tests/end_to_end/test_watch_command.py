"""`ingest watch` as a process, on both stores: real files, the system's events, signals."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from watches import DEADLINE_S, watching

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")

Draw = Callable[..., list[Path]]


@pytest.fixture
def album(shell: Any, draw: Draw) -> Path:
    """Returns a folder of two images."""
    draw(shell.folder / "album", "cat/1.png", "dog/1.png")
    folder: Path = shell.folder / "album"
    return folder


@pytest.fixture(params=["embedded", "server"])
def store(request: pytest.FixtureRequest, own_names: str) -> Iterator[str]:
    """Yields the address of a store; a server is a stand-in, or that of QDRANT_URL."""
    if request.param == "embedded":
        yield "embedded"
        return
    backend = request.getfixturevalue("qdrant")
    yield f"http://{backend.host}:{backend.port}"
    backend.client.delete_collection(f"{own_names}cosine")


@contextmanager
def serving(shell: Any) -> Iterator[str]:
    """Starts `search serve` on a free port; yields its URL once it is ready."""
    with subprocess.Popen(
        [Path(sys.executable).parent / "search", "serve", "--port", "0"],
        cwd=shell.folder,
        env=shell.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            ready = process.stdout.readline()
            assert ready.startswith("ready: http://127.0.0.1:")
            yield ready.split()[1]
        finally:
            process.kill()


def test_a_collection_follows_its_folder(
    shell: Any, album: Path, draw: Draw, store: str, own_names: str
) -> None:
    """Images come whole or in parts, change, move and go; each run that changes something is one line."""
    labels = shell.folder / "labels.csv"
    labels.write_text("path,class\ncat/1.png,lion\n")
    words = [*shell.model, "--store", store, "--labels", labels, "--prune-after", "1d"]
    with watching(shell, "album", *words) as watch:
        watch.wait_for("watching")
        watch.wait_for("album: 2 added in ")
        [whole] = draw(shell.folder, "whole.png")
        content = whole.read_bytes()
        (album / "cat/2.png").write_bytes(content[: len(content) // 2])
        watch.wait_for("skipped 'cat/2.png': truncated")
        (album / "notes.txt").write_text("no image")
        (album / "cat/2.png").write_bytes(content)
        watch.wait_for("album: 1 added in ")
        asked = ["--store", store, "--collection", f"{own_names}cosine", "--include-self", "--limit", "1"]
        found = shell("search", "query", whole, *asked, "--json")
        assert found.json[0]["hits"][0]["path"] == "cat/2.png", found.err
        labels.write_text("path,class\ncat/1.png,tiger\n")
        watch.wait_for("album: 1 updated in ")
        (album / "cat/2.png").rename(album / "dog/2.png")
        watch.wait_for("album: 1 moved in ")
        (album / "dog/1.png").unlink()
        draw(album, "new/deep/3.png")
        watch.wait_for("album: 1 added in ", count=2)
        assert watch.stop() == 0
        assert (watch.count("skipped"), watch.count("runs on")) == (1, 1)
        assert watch.said()[-1] == "stopped"
    [status] = shell("ingest", "status", "--store", store, "--json").json
    [collection] = [each for each in status["collections"] if each["name"] == f"{own_names}cosine"]
    assert collection["classes"] == {"dog": 2, "new": 1, "tiger": 1}
    later = shell("ingest", "run", "album", *words, "--json").json[0]["collections"][0]
    assert (later["waiting"], later["removed"]) == (1, 0)
    pruned = shell("ingest", "run", "album", *words[:-1], "0s", "--json").json[0]["collections"][0]
    assert (pruned["waiting"], pruned["removed_paths"]) == (0, ["dog/1.png"])


def test_a_folder_that_goes_away_loses_nothing(shell: Any, album: Path, draw: Draw) -> None:
    """With `--prune`, too; what was deleted when it is back is removed then."""
    with watching(shell, "album", *shell.model, "--prune", "--json") as watch:
        watch.wait_for("watching")
        album.rename(shell.folder / "unmounted")
        watch.wait_for(f"{album} is not there; it is waited for, and nothing is removed")
        album.mkdir()
        watch.wait_for(f"{album} holds no images; it is waited for, and nothing is removed")
        album.rmdir()
        (shell.folder / "unmounted/dog/1.png").unlink()
        draw(shell.folder / "unmounted", "dog/2.png")
        (shell.folder / "unmounted").rename(album)
        watch.wait_for("album: 1 added, 1 removed in ")
    lines = watch.printed()
    assert [line["trigger"] for line in lines] == ["start", *["change"] * (len(lines) - 1)]
    folders = [line["folders"][0] for line in lines]
    assert any(folder["waiting"] and folder["report"] is None for folder in folders)
    removed = [folder["report"]["collections"][0]["removed_paths"] for folder in folders if folder["report"]]
    assert sorted(path for paths in removed for path in paths) == ["dog/1.png"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_watch_in_the_middle_of_a_run(
    shell: Any, album: Path, draw: Draw, number: signal.Signals
) -> None:
    """The current batch is finished; a new watch goes on."""
    draw(album, *(f"many/{image}.png" for image in range(100)))
    words = ["album", *shell.model, "--batch-size", "1", "--threads", "1"]
    with watching(shell, *words) as watch:
        watch.wait_for("runs on")
        assert watch.stop(number) == 0
        assert watch.said()[-1] == "stopped"
    with watching(shell, *words, "--json") as watch:
        watch.wait_for("watching")
    report = watch.printed()[0]["folders"][0]["report"]
    counts = report["collections"][0]
    assert counts["added"] + counts["unchanged"] == 102
    assert not report["interrupted"]


def test_a_search_server_beside_it_finds_new_images(shell: Any, album: Path, draw: Draw) -> None:
    """On one embedded store; the server opens the collection anew when a run has ended."""
    with watching(shell, "album", *shell.model) as watch:
        watch.wait_for("watching")
        with serving(shell) as url:
            [new] = draw(album, "cat/new.png")
            until = time.monotonic() + DEADLINE_S
            names: set[str] = set()
            while "cat/new.png" not in names:
                assert time.monotonic() < until, watch.said()
                answer = httpx.post(
                    f"{url}/api/v1/query?include_self=true",
                    content=new.read_bytes(),
                    headers={"content-type": "image/png"},
                    timeout=DEADLINE_S,
                )
                assert answer.status_code == 200, answer.text
                names = {hit["path"] for hit in answer.json()["hits"]}
        draw(album, "cat/newer.png")
        watch.wait_for("album: 1 added in ", count=2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["none"], "none does not exist"),
        (["album", "--prune", "--prune-after", "1d"], "leave one of --prune or --prune-after out"),
        (["album", "--prune-after", "soon"], "--prune-after: 'soon' is no duration"),
        (["album", "--poll", "0"], "--poll"),
        (["album", "--poll", "nan"], "'--poll': it must be a number"),
        (["album", "other/album"], "would both be the dataset album"),
        (["album", "--labels", "none.csv"], "none.csv"),
        (["album", "--exclude", "a", "--no-exclude"], "leave --no-exclude out"),
        (["album", "--dry-run"], "No such option"),
    ],
)
def test_wrong_usage_ends_a_watch_at_once(shell: Any, album: Path, words: list[str], said: str) -> None:
    """As with `ingest run`: exit 2, and what to do."""
    (shell.folder / "other/album").mkdir(parents=True)
    done = shell("ingest", "watch", *words, *shell.model)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
