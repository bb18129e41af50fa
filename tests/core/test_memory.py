"""Out of memory: recognised by type or message, and prevented where a library would hang."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from lookalike_core.errors import StoreError
from lookalike_core.memory import available_memory, is_caused_by_memory_error, is_out_of_memory
from lookalike_core.stores.embedded import EmbeddedStore
from made_collections import manifest_of, point_of

LIMITED = """
import resource, sys
import qdrant_edge
from pathlib import Path
from lookalike_core.stores.embedded import EmbeddedStore
store = EmbeddedStore(Path(sys.argv[1]))
[name] = store.names()
pages = Path("/proc/self/statm").read_text().split()
left = int(pages[0]) * resource.getpagesize() + int(sys.argv[2]) * 2**20
resource.setrlimit(getattr(resource, sys.argv[3]), (left, left))
try:
    with store.open(name) as collection:
        print("points", collection.count())
except MemoryError as error:
    print("refused", error)
"""
"""A program that opens the one collection of a store with so many MB of address space left."""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Returns the folder of a store with one collection of three points."""
    made, manifest = EmbeddedStore(tmp_path / "store"), manifest_of()
    made.create(manifest)
    with made.open(manifest.collection) as collection:
        collection.upsert([point_of(f"{row}.png", np.array([1, row], np.float32)) for row in range(3)])
    return made.directory


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
        RuntimeError("std::bad_alloc"),
        RuntimeError("Error in Conv: Failed to allocate memory for requested buffer of size 3211264"),
        RuntimeError("CUDA failure 2: out of memory"),
        Exception("Service runtime error: mmap failed: Cannot allocate memory (os error 12)"),
        Exception("failed to build edge-search thread pool: Resource temporarily unavailable (os error 11)"),
        ImportError("libx.so: failed to map segment from shared object"),
        OSError("Can't read data (memory allocation failed for raw data chunk)"),
        RuntimeError("can't start new thread"),
    ],
    ids=lambda error: str(error)[:40],
)
def test_out_of_memory_errors_of_every_library_are_recognized(error: Exception) -> None:
    """The error itself and errors caused by it are recognised."""
    assert is_out_of_memory(error)
    assert is_out_of_memory(caused_by(error, RuntimeError("session failed")))


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file or directory", "/photos/out of memory.jpg"),
        OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)),
        Exception("Service runtime error: unexpected end of file"),
        Exception("WouldBlock: Resource temporarily unavailable (os error 11)"),
        Exception("file is corrupted at offset (os error 1234)"),
        ValueError("no memory of it"),
    ],
    ids=lambda error: str(error)[:40],
)
def test_other_errors_are_not_taken_for_out_of_memory(error: Exception) -> None:
    """File names in messages are not misread."""
    assert not is_out_of_memory(error)


def test_library_errors_are_classified_by_their_cause() -> None:
    """Their messages may quote a server, whose memory is not this machine's."""
    assert is_caused_by_memory_error(caused_by(MemoryError(), StoreError("the files are damaged")))
    assert not is_caused_by_memory_error(
        caused_by(Exception("out of memory"), StoreError("the server: out of memory"))
    )


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process may still have")
@pytest.mark.parametrize("spare_mb", [16, 60, 100, 200])
def test_the_engine_is_not_called_without_address_space(store: Path, spare_mb: int) -> None:
    """It would hang, or report damaged files."""
    said = opened_under(store, spare_mb, "RLIMIT_AS")
    assert said.startswith("refused ")
    assert "of address space, but only " in said


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process may still have")
@pytest.mark.parametrize("kind", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_a_sufficient_limit_does_not_interfere(store: Path, kind: str) -> None:
    """A small collection takes less than a gigabyte on any number of cores."""
    spare_mb = 1_000 + 32 * (os.cpu_count() or 1)
    assert opened_under(store, spare_mb, kind) == "points 3"


def opened_under(store: Path, spare_mb: int, kind: str) -> str:
    """Returns the output of a process with so much left; one that hangs is killed, and the test fails."""
    command = [sys.executable, "-c", LIMITED, str(store), str(spare_mb), kind]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    return done.stdout.strip()


def caused_by(cause: Exception, error: Exception) -> Exception:
    """Returns the error, raised from the cause."""
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("machine", "limit", "expected"),
    [
        ("MemTotal: 9000 kB\nMemAvailable:    4000 kB\n", "max\n", 4_096_000),
        ("MemAvailable: 4000 kB\n", "2000000\n", 2_000_000),
        ("MemAvailable: 4000 kB\n", "5000000\n", 4_096_000),
        ("MemAvailable: 4000 kB\n", "\n", 4_096_000),
        ("MemTotal: 9000 kB\n", "2000000\n", None),
        ("MemAvailable:\n", "max\n", None),
    ],
)
def test_available_memory_is_that_of_the_machine_or_of_a_group(
    tmp_path: Path, machine: str, limit: str, expected: int | None
) -> None:
    """The limit of an outer group counts as well; a limit alone does not tell how much is free."""
    (tmp_path / "meminfo").write_text(machine)
    (tmp_path / "own").write_text("0::/outer/inner\n")
    (tmp_path / "outer" / "inner").mkdir(parents=True)
    (tmp_path / "outer" / "memory.max").write_text(limit)
    found = available_memory(machine=tmp_path / "meminfo", groups=tmp_path, own=tmp_path / "own")
    assert found == expected


def test_other_systems_do_not_say_how_much_memory_is_available(tmp_path: Path) -> None:
    """They have no such file."""
    assert available_memory(machine=tmp_path / "meminfo") is None
