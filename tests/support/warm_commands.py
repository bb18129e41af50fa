"""The console commands in processes that begin with their libraries imported.

A command takes a second of processor time to import what it needs, and tests run hundreds. Here a server
imports it once and forks for each: a process of its own with its own folder, environment, streams and exit
code, that calls what the installed script calls. What only a process from nothing can show is tested with
one (`Shell.cold`).
"""

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

PROJECT = Path(__file__).parents[2] / "pyproject.toml"
SCRIPTS = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["scripts"]
LIBRARIES = (
    "numpy",
    "PIL.Image",
    "qdrant_edge",
    "h5py",
    "onnx",
    "rich.progress",
    "pydantic.type_adapter",
    "uuid",
)
"""What most commands import; not ONNX Runtime, which starts a thread then, and no fork takes that along."""

READ_AT_START = ("PYTHON", "LC_", "LANG", "LD_", "OMP_", "OPENBLAS_", "MPL", "TZ")
"""Variables, by how they begin, that a process reads before it has a command."""

READ_LATER = "PYTHONPATH"
"""Of these the one that is made good for: what stands in for a library is put before it."""

MESSAGE_BYTES = 2**20
TIMEOUT_S = 120


class WarmCommands:
    """Runs commands one after the other; to be closed."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdout=subprocess.DEVNULL,
            )
        self._start = _read_at_start(os.environ)

    @staticmethod
    def can_be() -> bool:
        """Elsewhere libraries may not be forked, or nothing can be."""
        return sys.platform == "linux"

    def can_run(self, words: Sequence[str], environment: Mapping[str, str]) -> bool:
        """Whether it is one of the commands, and would find what it would find in a process from nothing."""
        return words[0] in SCRIPTS and _read_at_start(environment) == self._start

    def run(
        self, words: Sequence[str], *, folder: Path, environment: Mapping[str, str], data: bytes | None
    ) -> tuple[int, bytes, bytes]:
        """Exit code, stdout and stderr of one command; an end by a signal has its number, negative."""
        request = {"words": [*words], "folder": str(folder), "environment": dict(environment)}
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            source, target = os.pipe() if data is not None else (os.open(os.devnull, os.O_RDONLY), None)
            files = [source, out.fileno(), err.fileno()]
            socket.send_fds(self._ours, [json.dumps(request).encode()], files)
            os.close(source)
            if target is not None:
                threading.Thread(target=_write, args=(target, data), daemon=True).start()
            code = self._ended(words)
            return code, _all_of(out), _all_of(err)

    def close(self) -> None:
        """Ends the server."""
        self._ours.close()
        self._server.wait(TIMEOUT_S)

    def _ended(self, words: Sequence[str]) -> int:
        pid = int(self._ours.recv(MESSAGE_BYTES))
        self._ours.settimeout(TIMEOUT_S)
        try:
            return int(self._ours.recv(MESSAGE_BYTES))
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            self._ours.recv(MESSAGE_BYTES)
            raise subprocess.TimeoutExpired([*words], TIMEOUT_S) from None
        finally:
            self._ours.settimeout(None)


def _read_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(READ_AT_START) and name != READ_LATER
    }


def _write(target: int, data: bytes) -> None:
    try:
        with os.fdopen(target, "wb") as pipe:
            pipe.write(data)
    except BrokenPipeError:
        pass  # the command did not want it


def _all_of(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


def serve(requests: socket.socket) -> None:
    """Forks for each request until nobody can ask any more; returns in the child, with its command to run."""
    for library in (*LIBRARIES, *(f"{place.partition('.')[0]}.commands.app" for place in SCRIPTS.values())):
        importlib.import_module(library)
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        message, files, _, _ = socket.recv_fds(requests, MESSAGE_BYTES, 3)
        if not message:
            return
        pid = os.fork()
        if pid == 0:
            requests.close()
            signal.signal(signal.SIGINT, interrupt)
            _become(json.loads(message), files)
        for file in files:
            os.close(file)
        requests.send(str(pid).encode())
        requests.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())


def _become(request: Mapping[str, Any], files: Sequence[int]) -> NoReturn:
    for standard, file in enumerate(files):
        os.dup2(file, standard)
        os.close(file)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.path[:0] = filter(None, request["environment"].get(READ_LATER, "").split(os.pathsep))
    tempfile.tempdir = None
    command, *words = request["words"]
    sys.argv = [str(Path(sys.executable).parent / command), *words]
    module, function = SCRIPTS[command].split(":")
    sys.exit(getattr(importlib.import_module(module), function)())


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
