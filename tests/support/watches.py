"""Runs `ingest watch` as a process, whose messages tests wait for."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEADLINE_S = 120
"""How long a message is waited for: as long as a busy machine may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningWatch:
    """A watch that runs; its output is in files, which fill no pipe."""

    process: "subprocess.Popen[bytes]"
    out: Path
    err: Path

    def wait_for(self, text: str, count: int = 1) -> None:
        """Waits until so many lines of stderr contain a text."""
        until = time.monotonic() + DEADLINE_S
        while self.count(text) < count:
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < until, (text, self.said())
            time.sleep(0.05)

    def count(self, text: str) -> int:
        """Returns how many lines of stderr contain a text."""
        return sum(text in line for line in self.said())

    def said(self) -> list[str]:
        """Returns the lines of stderr."""
        return self.err.read_text(encoding="utf-8").splitlines()

    def printed(self) -> list[Any]:
        """Returns the lines of stdout, parsed as JSON."""
        return [json.loads(line) for line in self.out.read_text(encoding="utf-8").splitlines()]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Sends a signal, and returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)


@contextmanager
def watching(shell: Any, *words: str | Path, **variables: str) -> Iterator[RunningWatch]:
    """Starts a watch; it is stopped by a signal in the end, and killed if that does not help."""
    number = len(list(shell.folder.glob("watch-*.out")))
    out, err = (shell.folder / f"watch-{number}.{stream}" for stream in ("out", "err"))
    with (
        out.open("wb") as stdout,
        err.open("wb") as stderr,
        subprocess.Popen(
            [Path(sys.executable).parent / "ingest", "watch", *map(str, words)],
            cwd=shell.folder,
            env={**shell.environment, **variables},
            stdout=stdout,
            stderr=stderr,
        ) as process,
    ):
        watch = RunningWatch(process=process, out=out, err=err)
        try:
            yield watch
            if process.poll() is None:
                watch.stop()
        finally:
            process.kill()
