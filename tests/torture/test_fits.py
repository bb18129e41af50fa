"""Tests two concurrent `exporter fit` of one name: one writes its head, and the other is refused."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="stops a process by SIGSTOP")

VICTIM = Path(__file__).with_name("victim.py")


@pytest.fixture
def shell(make_shell: Callable[[Path], Any], draw: Callable[..., list[Path]], tmp_path: Path) -> Any:
    """Returns a shell with one collection of two classes."""
    shell = make_shell(tmp_path)
    draw(tmp_path / "pictures", *(f"{name}/{n}.png" for name in ("cat", "dog") for n in range(8)))
    assert shell.ingest("pictures").code == 0
    return shell


def fit_words(shell: Any, seed: int) -> list[str]:
    """Returns a fit of the name `pets`, without `--force`; another seed fits another head."""
    (name,) = (path.parent.name for path in (shell.folder / "home/qdrant").glob("*/manifest.json"))
    return ["fit", "--collection", name, "--name", "pets", "--seed", str(seed), "--json"]


def test_the_second_of_two_concurrent_fits_of_one_name_exits_2(shell: Any) -> None:
    """The first stops between its check of the name and its write; the second waits for the lock."""
    ours, theirs = os.pipe()
    trap = json.dumps({"trap": "head", "nth": 1, "fd": theirs, "stands_still": True})
    first = start(shell, [sys.executable, VICTIM, trap, "exporter", *fit_words(shell, 1)], pass_fds=[theirs])
    os.close(theirs)
    assert os.read(ours, 16) == b"now\n"
    os.close(ours)
    second = start(shell, [Path(sys.executable).parent / "exporter", *fit_words(shell, 2)])
    assert second.stderr is not None
    waits = next((line for line in second.stderr if "waiting" in line), None)
    os.waitid(os.P_PID, first.pid, os.WSTOPPED | os.WNOWAIT)
    os.kill(first.pid, signal.SIGCONT)
    made, said = first.communicate(timeout=120)
    printed, refused = second.communicate(timeout=120)
    assert waits is not None, refused
    assert first.returncode == 0, said
    assert (second.returncode, printed) == (2, "")
    assert "holds another head" in refused
    heads = sorted(path.name for path in (shell.folder / "home/heads").glob("*.npz"))
    assert heads == ["pets.npz"]
    again = shell("exporter", *fit_words(shell, 1))
    assert again.json[0]["head"] == json.loads(made)["head"]
    assert again.json[0]["made"] is False


def start(shell: Any, words: list[Any], **options: Any) -> "subprocess.Popen[str]":
    """Starts a command in a process of its own."""
    return subprocess.Popen(
        words,
        cwd=shell.folder,
        env=shell.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
