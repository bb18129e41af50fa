"""Input and output of the commands: messages, results, questions, failures.

Results go to stdout, everything else to stderr. Stages log and open progress bars, which `reporting` shows;
they never print. Text may hold names from files and servers: each function escapes control characters, so
that callers need not.
"""

import io
import logging
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, cast

import typer
from typer.core import TyperGroup

from lookalike_core import progress
from lookalike_core.atomic import is_disk_full
from lookalike_core.cli.hint_words import MEMORY_ADVICE, full_message
from lookalike_core.cli.interrupt import (
    CONTINUES,
    INTERRUPTED_EXIT_CODE,
    STARTS_OVER,
    StartsOverError,
    raise_on_interrupt,
)
from lookalike_core.cli.named_store import remember_store
from lookalike_core.cli.progress_lines import EVERY_S, ProgressLines
from lookalike_core.errors import ImageError, LookalikeError
from lookalike_core.hints import Notice
from lookalike_core.logs import ROOT
from lookalike_core.memory import is_caused_by_memory_error, is_out_of_memory
from lookalike_core.progress import Bar
from lookalike_core.text import json_line, one_line

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_verbose = False


class _LinesOnStderr(logging.Handler):
    """Writes each log record as one line with its hint, as `say` does."""

    def emit(self, record: logging.LogRecord) -> None:
        say(Notice(record.getMessage(), hint=getattr(record, "hint", None)))


@contextmanager
def reporting(*, line_every_s: float = EVERY_S) -> Iterator[None]:
    """Shows the library's log and progress bars on stderr for the length of a block.

    Where stderr is no terminal, a bar is a line every `line_every_s` seconds.
    """
    logger, handler = logging.getLogger(ROOT), _LinesOnStderr()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        with progress.shown_by(partial(_rich_bar, line_every_s=line_every_s)):
            yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


@contextmanager
def _rich_bar(title: str, *, unit: str, total: int | None, line_every_s: float = EVERY_S) -> Iterator[Bar]:
    """Shows a bar with speed and time left if stderr is a terminal, else a log line at intervals.

    Messages appear above the bar.
    """
    if not sys.stderr.isatty():
        yield ProgressLines(title, unit=unit, total=total, say=say, every_s=line_every_s)
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(*_columns(unit), console=Console(stderr=True), redirect_stderr=True) as bars:
        yield _RichBar(bars, bars.add_task(one_line(title), total=total, skipped=0))


class _RichBar:
    def __init__(self, bars: "Progress", task: "TaskID") -> None:
        self._bars, self._task = bars, task
        self._skipped = 0

    def advance(self, done: int, *, skipped: int = 0) -> None:
        self._skipped = max(self._skipped, skipped)
        self._bars.update(self._task, advance=done, skipped=self._skipped)

    def set_total(self, total: int) -> None:
        self._bars.update(self._task, total=total)

    def count_ahead(self, count: Callable[[], int]) -> None:
        threading.Thread(target=lambda: self.set_total(count()), daemon=True).start()


def _columns(unit: str) -> list[Any]:
    """Returns the columns of a bar; its title is shown as text, not as Rich's markup."""
    from rich import progress as rich

    shared = [rich.TextColumn("{task.description}", markup=False), rich.BarColumn()]
    if unit == "bytes":
        return [*shared, rich.DownloadColumn(), rich.TransferSpeedColumn(), rich.TimeRemainingColumn()]

    if unit == "seconds":
        return [*shared, rich.TimeElapsedColumn()]

    class Speed(rich.ProgressColumn):
        def render(self, task: rich.Task) -> str:
            return f"{task.speed:.1f} {unit}/s" if task.speed else f"- {unit}/s"

    skipped = rich.TextColumn("{task.fields[skipped]} skipped")
    return [*shared, rich.MofNCompleteColumn(), Speed(), rich.TimeRemainingColumn(), skipped]


def _be_verbose(value: bool) -> bool:
    global _verbose  # noqa: PLW0603 - one process runs one command
    _verbose = _verbose or value
    return value


Verbose = Annotated[
    bool, typer.Option("--verbose", callback=_be_verbose, help="Show a traceback when something fails.")
]


def command_app(
    help_text: str, *, group: type[TyperGroup] = TyperGroup, add_completion: bool = False
) -> typer.Typer:
    """Returns a Typer app with plain text help and without Typer's tracebacks."""
    app = typer.Typer(
        cls=group,
        help=help_text,
        no_args_is_help=True,
        add_completion=add_completion,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback()(_group)
    return app


def _group() -> None:
    """Does nothing: Typer drops the name of a lone command unless its app has a callback."""


def say(message: str) -> None:
    """Writes one line to stderr, with the hint of a notice; does nothing if stderr is closed or full."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{one_line(full_message(message))}\n")
        sys.stderr.flush()


def show(*lines: str) -> None:
    """Writes lines of a result for people to stdout."""
    _write("".join(f"{one_line(line)}\n" for line in lines))


def show_drawing(drawing: str) -> None:
    """Writes a drawing with terminal codes to stdout; the caller must have escaped all other text in it."""
    _write(f"{drawing}\n")


def show_json(data: object) -> None:
    """Writes one JSON document as a line to stdout."""
    _write(f"{json_line(data)}\n")


def show_path(path: str | Path, *, end: str = "\n") -> None:
    """Writes a path to stdout: as its own bytes to a file or pipe, escaped as by `show` on a terminal."""
    if sys.stdout.isatty():
        _write(one_line(str(path)) + end)
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(os.fsencode(path) + end.encode())
    sys.stdout.buffer.flush()


class TableOutput:
    """A file object over stdout for table rows: unchanged to files and pipes, escaped on a terminal."""

    def __init__(self) -> None:
        self._stream = sys.stdout  # as it is now: a progress bar takes its name for itself
        if isinstance(self._stream, io.TextIOWrapper):
            self._stream.reconfigure(newline="\n")
        self.is_terminal = self._stream.isatty()

    def write(self, record: str) -> None:
        """Writes one record, which ends with a line break."""
        self._stream.write(one_line(record.removesuffix("\n")) + "\n" if self.is_terminal else record)

    def flush(self) -> None:
        """Flushes stdout."""
        self._stream.flush()


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def confirm(question: str) -> bool:
    """Returns whether the user confirms on the terminal; end of input counts as no."""
    with suppress(typer.Abort):
        return typer.confirm(one_line(question), err=True)
    return False


def run_command(app: typer.Typer, *, line_every_s: float = EVERY_S, prog_name: str | None = None) -> NoReturn:
    """Runs a command line and exits; an error becomes one line on stderr and its exit code.

    `line_every_s` is that of `reporting`, `prog_name` that of `start`.
    """
    run_program(lambda: _exit_code_of(app, prog_name), line_every_s=line_every_s)


def run_program(work: Callable[[], int], *, line_every_s: float = EVERY_S) -> NoReturn:
    """Runs a function that returns an exit code, and exits with it; handles errors as `run_command`."""
    _prepare_streams()
    warnings.filterwarnings("ignore", module=r"PIL\.")  # on metadata, file by file
    try:
        raise_on_interrupt()
        with reporting(line_every_s=line_every_s):
            exit_code = work()
    except _WrongUsage as error:
        _say_usage(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _fail(CONTINUES, INTERRUPTED_EXIT_CODE)
    except StartsOverError:
        _fail(STARTS_OVER, INTERRUPTED_EXIT_CODE)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python complains once more when it ends
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - the last line of defence; --verbose shows where
        _fail(*_describe(error))
    finally:
        remember_store(None)
    sys.exit(exit_code)


def _exit_code_of(app: typer.Typer, prog_name: str | None) -> int:
    exit_code = cast("int", app(standalone_mode=False, prog_name=prog_name) or 0)
    if exit_code == INTERRUPTED_EXIT_CODE:  # what Typer makes of a KeyboardInterrupt, without a word
        raise KeyboardInterrupt
    return exit_code


def _prepare_streams() -> None:
    """Replaces closed streams by null devices; lets the others escape what their encoding lacks."""
    if sys.stdout is None or sys.stderr is None:
        nowhere = os.open(os.devnull, os.O_RDWR)
        while nowhere <= 2:  # noqa: PLR2004 - or the next file that is opened would be taken for stderr
            nowhere = os.dup(nowhere)
        sys.stdout = sys.stdout or os.fdopen(os.dup(nowhere), "w")
        sys.stderr = sys.stderr or os.fdopen(nowhere, "w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _fail(message: str, exit_code: int) -> NoReturn:
    if _verbose:
        _say_lines(traceback.format_exc())
    say(f"error: {message}")
    sys.exit(exit_code)


_WrongUsage: type[Any] = typer.BadParameter.__mro__[2]
"""Click's `ClickException`; newer versions of Typer bundle a Click of their own."""


def _say_usage(error: Any) -> None:  # noqa: ANN401 - as above
    """Shows a command's usage line and the error, in which any value may be quoted."""
    message, context = str(error.format_message()), getattr(error, "ctx", None)
    if context is None:
        say(f"error: {message}")
    elif message == context.get_help():  # a command with nothing behind its name
        _say_lines(message)
    else:
        _say_lines(context.get_usage())
        say(f"Try '{context.command_path} --help' for help.")
        say("")
        say(f"error: {message}")


def _say_lines(text: str) -> None:
    for line in text.rstrip("\n").split("\n"):
        say(line)


def _describe(error: Exception) -> tuple[str, int]:
    """Returns the message and the exit code of an error."""
    if _is_lack_of_memory(error):
        return _memory_message(error), 1
    if isinstance(error, LookalikeError):
        return full_message(error), error.exit_code
    if isinstance(error, OSError):
        return _os_message(error), 1
    return f"{type(error).__name__}: {error} (--verbose shows where)", 1


def _is_lack_of_memory(error: Exception) -> bool:
    """Returns whether the process ran out of memory; False for a single image too large to decode."""
    if isinstance(error, ImageError):
        return False
    return is_caused_by_memory_error(error) if isinstance(error, LookalikeError) else is_out_of_memory(error)


def _memory_message(error: Exception) -> str:
    """Returns the original memory error's message, without the remedy that our wrapper adds."""
    while not isinstance(error, MemoryError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    what = (str(error).splitlines() or [""])[0]
    return f"out of memory: {what}; {MEMORY_ADVICE}" if what else f"out of memory; {MEMORY_ADVICE}"


def _os_message(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    if is_disk_full(error):
        return f"{where}the disk is full; make room and run the same command again"
    return f"{where}{error.strerror or error}"
