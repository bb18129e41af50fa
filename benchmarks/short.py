"""Runs the short form of a benchmark: our way and a peer in turn, in at most about 20 seconds.

    python benchmarks/NAME.py --short [--json FILE]

A peer does the least that the task takes, by the libraries that ours stands on: a bare session, numpy, a
reading of files. What a machine does to one it does to the other, so that their ratio says more than seconds.
Other programs only ever lengthen a round, so the ratio is that of the fastest rounds. `bench.py` compares it
with stored ones.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from machine import describe

ROUNDS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Duel:
    """Our way and a peer's, to be timed in turn in so many `rounds` after one that warms up."""

    name: str
    ours: Callable[[], object]
    peer: Callable[[], object]
    rounds: int = ROUNDS


Short = Callable[[Path], Iterator[Duel]]
"""Yields duels, each measured before the next one is made; the folder is an empty temporary one."""


def run_either(main: Callable[[], None], short: Short) -> None:
    """Runs a benchmark, or its short form where `--short` is among the arguments."""
    if "--short" not in sys.argv[1:]:
        main()
        return
    parser = argparse.ArgumentParser(description="The short form of a benchmark.")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    print(describe())
    ratios = {}
    with tempfile.TemporaryDirectory(prefix="lookalike-benchmark-") as folder:
        for duel in short(Path(folder)):
            ours_s, peer_s = measure(duel)
            ratios[duel.name] = ours_s / peer_s
            print(
                f"{duel.name}: {1000 * ours_s:.1f} / {1000 * peer_s:.1f} ms = {ratios[duel.name]:.2f}",
                flush=True,
            )
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(ratios), encoding="utf-8")


def measure(duel: Duel) -> tuple[float, float]:
    """Returns the seconds of the fastest round of either side."""
    rounds = [(_seconds(duel.ours), _seconds(duel.peer)) for _ in range(duel.rounds + 1)][1:]
    ours, peers = zip(*rounds, strict=True)
    return min(ours), min(peers)


def _seconds(way: Callable[[], object]) -> float:
    started = time.perf_counter()
    way()
    return time.perf_counter() - started
