"""What Ctrl-C and SIGTERM do to a command that serves."""

import signal
import subprocess
import sys

import pytest
from lookalike_core.cli.interrupt import stopping_on_signals

CODE = """
import os, signal, sys, time
from lookalike_core.cli.interrupt import stopping_on_signals
stops = []
with stopping_on_signals(lambda: stops.append(1)):
    for number in map(int, sys.argv[1:]):
        os.kill(os.getpid(), number)
        time.sleep(0.01)
print(len(stops), flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_stops_and_the_second_ends_the_process(number: signal.Signals) -> None:
    """A server that does not end by itself can be ended."""
    command = [sys.executable, "-c", CODE]
    once = subprocess.run([*command, str(int(number))], capture_output=True, text=True, check=False)
    assert (once.returncode, once.stdout) == (0, "1\n"), once.stderr
    twice = subprocess.run([*command, *[str(int(number))] * 2], capture_output=True, text=True, check=False)
    assert (twice.returncode, twice.stdout) == (130, "")
    assert "interrupted" in twice.stderr


def test_handlers_are_restored() -> None:
    """The tests' own, in this case."""
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with stopping_on_signals(lambda: None):
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
