"""Measures what a first query in a new process spends its time on: medians, step by step.

    python benchmarks/cold_steps.py IMAGE --collection NAME [--rounds 8] [--json FILE]

Each round is a process that imports what `search query` imports, in the same order, notes the clock and its
processor time between the steps, and answers the query (`LOOKALIKE_HOME`, `LOOKALIKE_STORE`). Other programs
lengthen the seconds by the clock much, those of the processor little; the network computes in several
threads, whose processor time counts together. A first round is not counted.
"""

import argparse
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from statistics import median

from machine import describe, write_results

STEPS = """
import time, resource
def now():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter(), used.ru_utime + used.ru_stime
marks = [("start", (time.perf_counter(), 0.0)), ("the interpreter", now())]
def mark(step):
    marks.append((step, now()))
import atexit, json, sys
sys.argv[0] = "search"
import lookalike_core.cli.start
from lookalike_core import own_process
own_process.claim()
own_process.load_module("lookalike_core.cli.console")
mark("importing the command line and Typer")
own_process.load_module("numpy")
mark("importing numpy")
own_process.load_module("lookalike_search.commands.query")
mark("importing the query")
from lookalike_core.models import embedder, providers
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_search.asking import query
def note(owner, name, before, step):
    function = getattr(owner, name)
    def noted(*words, **options):
        mark(before)
        try:
            return function(*words, **options)
        finally:
            mark(step)
    setattr(owner, name, noted)
note(EmbeddedStore, "open", "choosing the collection", "opening the collection")
note(providers, "load_runtime", "decoding the image, opening the session", "importing ONNX Runtime")
note(embedder.Embedder, "embed", "decoding the image, opening the session", "the network")
note(query.Searcher, "answer", "searching", "searching")
def end():
    mark("printing, and the end of the process")
    print(json.dumps(marks), file=sys.stderr)
atexit.register(end)
from lookalike_search.__main__ import main
main()
"""


def main() -> None:
    """Prints a line for each step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image")
    parser.add_argument("--collection", required=True)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    print(describe())
    words = ["query", arguments.image, "--collection", arguments.collection]
    rounds = [measure(words) for _ in range(arguments.rounds + 1)][1:]
    for step in rounds[0]:
        by_the_clock, of_the_processor = (median(each[step][i] for each in rounds) for i in (0, 1))
        print(f"{step:40} {by_the_clock:6.3f} s, {of_the_processor:6.3f} s of the processor")
    write_results(arguments.json, {"rounds": rounds})


def measure(words: list[str]) -> dict[str, tuple[float, float]]:
    """Returns step -> seconds by the clock and of the processor, of one process."""
    done = subprocess.run([sys.executable, "-c", STEPS, *words], check=True, capture_output=True, text=True)
    marks = json.loads(done.stderr.splitlines()[-1])
    found: dict[str, tuple[float, float]] = {}
    for (_, before), (step, after) in pairwise(marks):
        known = found.get(step, (0.0, 0.0))
        found[step] = known[0] + after[0] - before[0], known[1] + after[1] - before[1]
    return found


if __name__ == "__main__":
    main()
