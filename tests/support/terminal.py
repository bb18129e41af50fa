"""Runs commands on a terminal that records all output and interprets none."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

COLUMNS = 200
"""Columns, enough for a complete progress bar."""

_OUR_CODES = re.compile(r"\x1b\[(?:[0-9;]*m|\?25[lh]|[12]K|1A|\d+G)")
"""Colours and cursor movements of a progress bar: the only control sequences that a command may send."""


def sent_to_terminal(
    words: Sequence[str | Path], *, folder: Path, environment: Mapping[str, str], typed: str = ""
) -> tuple[int, str]:
    """Returns a command's exit code on its own terminal, and its output, between echoes of `typed`."""
    import pty

    program, *arguments = map(str, words)
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [Path(sys.executable).parent / program, *arguments],
        cwd=folder,
        env={**environment, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        os.write(ours, typed.encode())
        sent = bytearray()
        try:
            while part := os.read(ours, 65_536):
                sent += part
        except OSError:  # Linux reports a closed peer by this error
            pass
        finally:
            os.close(ours)
    return process.returncode, sent.decode("utf-8", "surrogateescape")


def control_sequences(sent: str) -> list[str]:
    """Returns the control sequences in an output that none of our commands sends itself."""
    lines = _OUR_CODES.sub("", sent).replace("\r", "").split("\n")
    return [line for line in lines if not line.isprintable()]
