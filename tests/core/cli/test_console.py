"""The console: one line on stderr for a failure, and its exit code."""

import errno
import io
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
import typer
from lookalike_core import progress
from lookalike_core.cli import console
from lookalike_core.cli.console import (
    TableOutput,
    Verbose,
    command_app,
    reporting,
    run_command,
    say,
    show,
    show_path,
)
from lookalike_core.cli.hint_words import MEMORY_ADVICE
from lookalike_core.errors import (
    CollectionError,
    ImageError,
    LookalikeError,
    ModelError,
    SkipReason,
    StoreError,
    StoreLockedError,
    UsageError,
)
from lookalike_core.hints import Action, Argument, Hint

ERRORS = [
    LookalikeError("it failed"),
    UsageError("a wrong option"),
    ModelError("no weights"),
    ImageError("not an image", reason=SkipReason.NOT_AN_IMAGE),
    StoreError("no answer"),
    CollectionError("another space"),
    StoreLockedError("in use"),
]

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command with this action; returns exit code and stderr, after checking that stdout is empty."""

    def run_app(action: Callable[[], object], *arguments: str) -> tuple[int, str]:
        app = command_app("A command for tests.")

        @app.command("do")
        def do(verbose: Verbose = False) -> None:
            """Do it."""
            action()

        monkeypatch.setattr(sys, "argv", ["test", "do", *arguments])
        monkeypatch.setattr(console, "_verbose", False)
        with pytest.raises(SystemExit) as ended:
            run_command(app)
        captured = capsys.readouterr()
        assert captured.out == ""
        return int(ended.value.code or 0), captured.err

    return run_app


def raising(error: BaseException) -> Callable[[], object]:
    """Returns an action that raises an error."""

    def fail() -> None:
        raise error

    return fail


def test_success_is_exit_0_without_output(run: Run) -> None:
    """A successful command prints nothing by itself."""
    assert run(lambda: None) == (0, "")


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_library_error_prints_one_line_and_sets_its_exit_code(run: Run, error: LookalikeError) -> None:
    """The message is printed without a traceback."""
    assert run(raising(error)) == (error.exit_code, f"error: {error}\n")


def test_a_command_may_choose_its_exit_code(run: Run) -> None:
    """A query of several images ends with 4 after all others were answered."""
    assert run(raising(typer.Exit(4))) == (4, "")


def test_an_interrupted_command_says_how_to_continue(run: Run) -> None:
    """Ctrl-C prints one line and exits with 130."""
    interrupted = (130, "error: interrupted; run the same command again to continue\n")
    assert run(raising(KeyboardInterrupt())) == interrupted


def test_a_full_disk_is_reported_with_a_remedy(run: Run) -> None:
    """The message names the path if the system does."""
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/model.onnx")
    said = "error: /data/model.onnx: the disk is full; make room and run the same command again\n"
    assert run(raising(full)) == (1, said)


def test_a_system_error_is_reported_with_its_path(run: Run) -> None:
    """Examples are a read-only home and a folder that was deleted."""
    refused = PermissionError(errno.EACCES, "Permission denied", "/home/models")
    assert run(raising(refused)) == (1, "error: /home/models: Permission denied\n")


def test_running_out_of_memory_is_reported_with_a_remedy(run: Run) -> None:
    """The message suggests a smaller batch, among others."""
    assert run(raising(MemoryError())) == (1, f"error: out of memory; {MEMORY_ADVICE}\n")


def test_errors_caused_by_a_lack_of_memory_are_reported_as_such(run: Run) -> None:
    """The remedy is for memory, not for damaged files; errors of too large images stay."""
    error = StoreError("the files are damaged: remove them")
    error.__cause__ = MemoryError("Unable to allocate 9 GiB")
    assert run(raising(error)) == (1, f"error: out of memory: Unable to allocate 9 GiB; {MEMORY_ADVICE}\n")
    refused = OSError(errno.ENOMEM, "Cannot allocate memory", "/data/model.onnx")
    said = f"error: out of memory: [Errno 12] Cannot allocate memory: '/data/model.onnx'; {MEMORY_ADVICE}\n"
    assert run(raising(refused)) == (1, said)
    image = ImageError("a.jpg does not fit into memory", reason=SkipReason.TOO_LARGE)
    image.__cause__ = MemoryError()
    assert run(raising(image)) == (4, "error: a.jpg does not fit into memory\n")


def test_an_unexpected_error_prints_one_line(run: Run) -> None:
    """The message names the exception's class."""
    said = "error: KeyError: 'layer' (--verbose shows where)\n"
    assert run(raising(KeyError("layer"))) == (1, said)


def test_verbose_shows_the_traceback_before_the_line(run: Run) -> None:
    """`--verbose` prints it for bug reports."""
    exit_code, said = run(raising(StoreError("no answer")), "--verbose")
    assert exit_code == StoreError.exit_code
    assert said.startswith("Traceback (most recent call last):")
    assert "in fail" in said
    assert said.endswith("\nerror: no answer\n")


@pytest.mark.parametrize("arguments", [["--nonsense"], ["one-too-many"]])
def test_wrong_usage_exits_with_2(run: Run, arguments: list[str]) -> None:
    """Typer's message is printed as plain text."""
    exit_code, said = run(lambda: None, *arguments)
    assert exit_code == UsageError.exit_code
    assert arguments[0] in said


def test_a_value_quoted_in_wrong_usage_is_escaped(run: Run) -> None:
    """The message is one line below the usage."""
    exit_code, said = run(lambda: None, "a\x1b]0;x\x07\nerror: b")
    usage, *hint, error = said.rstrip("\n").split("\n")
    assert exit_code == UsageError.exit_code
    assert usage.startswith("Usage: ")
    assert hint[0].endswith("--help' for help.")
    assert error.startswith("error: ")
    assert r"a\x1b]0;x\x07" in error


def test_a_traceback_is_escaped(run: Run) -> None:
    """The traceback quotes the error, which may contain control characters."""
    _, said = run(raising(StoreError("no\x1b[2J answer")), "--verbose")
    assert "\x1b" not in said
    assert said.count(r"no\x1b[2J answer\n".replace(r"\n", "\n")) == 2


def test_a_closed_pipe_causes_no_traceback() -> None:
    """`search query ... | head -1` closes the pipe while the command still writes."""
    program = (
        "from lookalike_core.cli.console import command_app, run_command; import typer\n"
        "app = command_app('x')\n"
        "@app.command('do')\n"
        "def do():\n"
        "    for _ in range(100_000): typer.echo('a line of output')\n"
        "run_command(app)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, "do"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "a line of output\n"
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (1, "")


def test_each_log_record_of_the_library_is_a_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """Records from all threads are shown, those of other libraries are not."""
    logger = logging.getLogger("lookalike.stores")
    with reporting():
        logger.info("%s has %d points", "a\x1b[2J\nb", 3)
        thread = threading.Thread(target=logger.warning, args=("again in 0.5 s",))
        thread.start()
        thread.join()
        logger.debug("a detail")
        logging.getLogger("httpx").error("not ours")
    logger.warning("nobody listens any more")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "a\\x1b[2J\\nb has 3 points\nagain in 0.5 s\n")


def test_a_log_record_ends_with_its_hint(capsys: pytest.CaptureFixture[str]) -> None:
    """The hint names options with their values."""
    with reporting():
        hint = Hint(Action.RECALIBRATE, {Argument.COLLECTION: "a"})
        logging.getLogger("lookalike.search").warning("%s is stale", "a", extra={"hint": hint})
        logging.getLogger("lookalike.search").warning("b is stale", extra={"hint": None})
    stale = "a is stale; calibrate again with: search calibrate --collection a"
    assert capsys.readouterr().err == f"{stale}\nb is stale\n"


def test_reporting_restores_logging() -> None:
    """Level and handlers are restored, even after an error."""
    logger = logging.getLogger("lookalike")
    before = logger.level, list(logger.handlers), logger.propagate
    with pytest.raises(KeyboardInterrupt), reporting():
        raise KeyboardInterrupt
    assert (logger.level, logger.handlers, logger.propagate) == before


def test_messages_and_results_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    """Each is one line, and markup is not interpreted."""
    say("a\x1b[2J\nb [bold]:smile:")
    show("c\x9b", "d\u202e")
    captured = capsys.readouterr()
    assert captured.err == "a\\x1b[2J\\nb [bold]:smile:\n"
    assert captured.out == "c\\x9b\nd\\u202e\n"


@pytest.mark.skipif(sys.platform == "win32", reason="has no names that are no text")
def test_paths_and_tables_are_exact_in_a_pipe(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Programs get the bytes unchanged."""
    show_path("a\x1b\udcff", end="\0")
    table = TableOutput()
    table.write('"b\x1b\n",c\n')
    table.flush()
    assert capfdbinary.readouterr().out == b'a\x1b\xff\0"b\x1b\n",c\n'


def test_paths_and_tables_are_escaped_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each record is one line."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    show_path("a\x1b\udcff", end="\0")
    TableOutput().write('"b\x1b\n",c\n')
    assert terminal.getvalue() == 'a\\x1b\\udcff\0"b\\x1b\\n",c\n'


def test_no_bar_is_drawn_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Bars would fill a log; the total of short work is not counted."""
    with reporting(), progress.bar("data", unit="images") as bar:
        bar.count_ahead(lambda: pytest.fail("counted for a bar that is not shown"))
        bar.set_total(10)
        bar.advance(3)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


@pytest.mark.parametrize(
    ("unit", "shown"),
    [("images", ["data", "4/4", "images/s", "1 skipped"]), ("bytes", ["data", "4/4 bytes"])],
)
def test_a_bar_is_drawn_on_a_terminal(monkeypatch: pytest.MonkeyPatch, unit: str, shown: list[str]) -> None:
    """It shows counts, speed and the number of skipped images."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")
    with reporting(), progress.bar("data", unit=unit) as bar:
        bar.set_total(4)
        bar.advance(1)
        bar.advance(3, skipped=1)
    assert [part for part in shown if part not in terminal.getvalue()] == []


def test_the_title_of_a_bar_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Markup, names of emoji and control characters are not interpreted."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")
    with reporting(), progress.bar("[/x][bold]:smile:\x1b]0;y\x07", unit="images", total=1):
        pass
    assert r"[/x][bold]:smile:\x1b]0;y\x07 " in terminal.getvalue()


def test_log_lines_stand_above_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bar is drawn again below them."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")
    with reporting(), progress.bar("data", unit="images", total=2) as bar:
        bar.advance(1)
        logging.getLogger("lookalike.ingest").info("a line")
        bar.advance(1)
    before, line, after = terminal.getvalue().partition("a line\n")
    assert line
    assert "data" in before
    assert "2/2" in after


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        """Returns True."""
        return True
