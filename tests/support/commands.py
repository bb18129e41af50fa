"""Runs the console commands in this process or in one of their own.

In this process a command finds what it finds in one of its own: arguments, folder, environment, streams.
What it changes of the process is put back behind it, so that commands do not hear of each other. What only
a process has (start-up, signals, encodings, a terminal, an end) is tested with one.
"""

import importlib
import io
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import tomllib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lookalike_core import own_process
from lookalike_core.cli import console
from PIL import Image

PROJECT = Path(__file__).parents[2] / "pyproject.toml"
SCRIPTS = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["scripts"]

READ_AT_START = ("PYTHON", "LC_", "LANG", "LD_", "OMP_", "OPENBLAS_", "MPL", "TZ")
"""Prefixes of the variables that a process reads before it runs a command."""

TIMEOUT_S = 300

Ended = tuple[int, bytes, bytes]
"""Exit code, stdout and stderr of a command."""


def can_run_here(words: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Returns whether these words are a command that behaves here as in a process of its own.

    What an execution provider loads stays loaded; only the processor's is there anyway.
    """
    is_main = threading.current_thread() is threading.main_thread()
    is_on_processor = environment.get("LOOKALIKE_PROVIDER") == "cpu"
    is_as_started = _read_at_start(environment) == _read_at_start(os.environ)
    return words[0] in SCRIPTS and is_main and is_on_processor and is_as_started


def run_here(
    words: Sequence[str], *, folder: Path, environment: Mapping[str, str], data: bytes | None
) -> Ended:
    """Calls the function that the installed script calls, with standard input `data`."""
    command, *_ = words
    module, function = SCRIPTS[command].split(":")
    main = getattr(importlib.import_module(module), function)
    with ExitStack() as stack:
        stack.enter_context(_process_of(words, folder=folder, environment=environment))
        out, err = stack.enter_context(_streams(data or b""))
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = _exit_code(ended)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        return code, out.getvalue(), err.getvalue()


def run_as_process(
    words: Sequence[str], *, folder: Path, environment: Mapping[str, str], data: bytes | None
) -> Ended:
    """Runs a command in a process of its own to its end, as a user's shell does."""
    program, *arguments = words
    done = subprocess.run(
        [Path(sys.executable).parent / program, *arguments],
        cwd=folder,
        env=environment,
        input=data,
        capture_output=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    return done.returncode, done.stdout, done.stderr


@contextmanager
def _process_of(words: Sequence[str], *, folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Sets what a command reads from its process, and restores what it may have changed."""
    log = logging.getLogger("lookalike")
    before = (sys.argv, dict(os.environ), Path.cwd(), tempfile.tempdir, signal.getsignal(signal.SIGINT))
    logged = ([*log.handlers], log.level, log.propagate)
    own = own_process.is_own(), Image.MAX_IMAGE_PIXELS
    main = sys.modules["__main__"]
    package, main.__package__ = main.__package__, None  # `python -m pytest` is not the command's name
    sys.argv = [str(Path(sys.executable).parent / words[0]), *words[1:]]
    _replace_environment(environment)
    os.chdir(folder)
    tempfile.tempdir, console._verbose = None, False  # noqa: SLF001
    try:
        with warnings.catch_warnings():
            # The filter of `lookalike_core.images.decoding`; pytest turns warnings into errors.
            warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
            yield
    finally:
        log.handlers[:], log.level, log.propagate = logged
        sys.argv, variables, cwd, tempfile.tempdir, handler = before
        main.__package__ = package
        _replace_environment(variables)
        os.chdir(cwd)
        signal.signal(signal.SIGINT, handler)
        console._verbose = False  # noqa: SLF001
        own_process._is_own, Image.MAX_IMAGE_PIXELS = own  # noqa: SLF001


@contextmanager
def _streams(data: bytes) -> Iterator[tuple[io.BytesIO, io.BytesIO]]:
    """Replaces stdout and stderr by byte buffers. Typer's `CliRunner` does, too, with another help width."""
    before, raw = (sys.stdin, sys.stdout, sys.stderr), (io.BytesIO(data), io.BytesIO(), io.BytesIO())
    sys.stdin, sys.stdout, sys.stderr = (io.TextIOWrapper(each, encoding="utf-8") for each in raw)
    try:
        yield raw[1:]
    finally:
        sys.stdin, sys.stdout, sys.stderr = before


def _replace_environment(variables: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(variables)


def _read_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(READ_AT_START)}


def _exit_code(ended: SystemExit) -> int:
    """Returns the exit code that a process would have."""
    if isinstance(ended.code, str):
        sys.stderr.write(f"{ended.code}\n")
        return 1
    return ended.code or 0
