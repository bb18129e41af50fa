"""Locks between processes: a waiting one is told the holder, and a dead holder's lock is free."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from lookalike_core import locks
from lookalike_core.errors import StoreLockedError

HOLD = """
import sys
from pathlib import Path
from lookalike_core import locks
with locks.hold(Path(sys.argv[1]), "one", what="one", timeout_s=0):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> subprocess.Popen[str]:
    """Yields another process that holds the lock `one`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_free_lock_is_acquired_without_waiting(tmp_path: Path) -> None:
    """No wait is reported, and the folder is created."""
    said: list[str] = []
    with locks.hold(tmp_path / "new", "one", what="one", timeout_s=5, on_wait=said.append):
        assert (tmp_path / "new" / "one.holder").read_text(encoding="utf-8").startswith("process ")
    assert said == []


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_held_lock_names_its_holder_and_a_killed_one_frees_it(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    """Nothing has to be removed by hand."""
    said: list[str] = []
    with pytest.raises(StoreLockedError, match=rf"^it is in use by process {holder.pid} \(-c\)"):
        locks.acquire(tmp_path, "one", what="it", timeout_s=0.1, on_wait=said.append)
    assert said == [f"process {holder.pid} (-c)"]
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with locks.hold(tmp_path, "one", what="one", timeout_s=0):
        pass


def test_an_unreadable_lock_holder_is_called_another_process(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    """A holder's description cut off by a full disk is no further error."""
    (tmp_path / "one.holder").write_bytes(b"\xff\xfe")
    with pytest.raises(StoreLockedError, match="in use by another process"):
        locks.acquire(tmp_path, "one", what="one", timeout_s=0)
    holder.communicate("")
