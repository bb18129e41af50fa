"""Runs the short form of each benchmark that has one, and compares its ratios with the stored ones.

    python benchmarks/bench.py [NAME...] [--update]

NAME is a script, such as `embed`; default: all. Each measures our way and a peer in turn (`short.py`).
`ratios.json` has a ratio and a tolerance for each pair: a measured ratio above the stored one times the
tolerance is a regression, and exit code 1. What looks like one is measured again, and the lower ratio counts.
`--update` stores the measured ratios; new ones have a tolerance of 1.5.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).parent
STORED = HERE / "ratios.json"
SCRIPTS = ("embed", "colours", "cold", "scan", "store", "neighbours", "duplicates", "export", "serve")
TOLERANCE = 1.5

Ratios = Mapping[str, float]
Stored = dict[str, dict[str, float]]


def main() -> None:
    """Prints a line for each pair; ends with 1 where there is a regression."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scripts", nargs="*", metavar="NAME", help=", ".join(SCRIPTS))
    parser.add_argument("--update", action="store_true", help="store the measured ratios")
    arguments = parser.parse_args()
    if unknown := set(arguments.scripts) - set(SCRIPTS):
        parser.error(f"no short form: {', '.join(sorted(unknown))}; there are {', '.join(SCRIPTS)}")
    stored: Stored = json.loads(STORED.read_text(encoding="utf-8"))
    measured: dict[str, float] = {}
    for script in arguments.scripts or SCRIPTS:
        found = measure(script)
        if not arguments.update and any(is_slower(name, ratio, stored) for name, ratio in found.items()):
            print(f"{script}: measuring again", flush=True)
            found = {name: min(ratio, found.get(name, ratio)) for name, ratio in measure(script).items()}
        measured |= found
    if arguments.update:
        kept = {} if not arguments.scripts else stored
        STORED.write_text(json.dumps(update(kept, measured, stored), indent=1) + "\n", encoding="utf-8")
    print(*table(measured, stored), sep="\n")
    if not arguments.update and any(is_slower(name, ratio, stored) for name, ratio in measured.items()):
        sys.exit("there are regressions; where a change is meant to cost so much, pass --update")


def measure(script: str) -> Ratios:
    """Runs the short form of a script, which prints what it measures, and returns its ratios."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "ratios.json"
        command = [sys.executable, str(HERE / f"{script}.py"), "--short", "--json", str(results)]
        subprocess.run(command, check=True)
        ratios: Ratios = json.loads(results.read_text(encoding="utf-8"))
        return ratios


def is_slower(name: str, ratio: float, stored: Stored) -> bool:
    """Returns whether a ratio is a regression; one that is not stored is none."""
    return name in stored and ratio > stored[name]["ratio"] * stored[name]["tolerance"]


def update(kept: Stored, measured: Ratios, stored: Stored) -> Stored:
    """Returns the stored ratios with the measured ones in their place; tolerances stay as they are."""
    new = {
        name: {
            "ratio": round(ratio, 3),
            "tolerance": stored.get(name, {"tolerance": TOLERANCE})["tolerance"],
        }
        for name, ratio in measured.items()
    }
    return kept | new


def table(measured: Ratios, stored: Stored) -> Iterator[str]:
    """Yields the lines of the table: each pair with both ratios and a verdict."""
    width = max(map(len, measured), default=0)
    yield f"{'ours / peer':{width}}  {'now':>7}  {'stored':>7}  {'at most':>7}"
    for name, ratio in measured.items():
        yield f"{name:{width}}  {ratio:7.2f}  {_columns(name, ratio, stored)}"


def _columns(name: str, ratio: float, stored: Stored) -> str:
    if name not in stored:
        return f"{'':7}  {'':7}  new: store it by --update"
    known, tolerance = stored[name]["ratio"], stored[name]["tolerance"]
    verdict: Sequence[str] = ("slower",) if is_slower(name, ratio, stored) else ()
    if ratio * tolerance < known:
        verdict = ("faster: store it by --update",)
    return "  ".join((f"{known:7.2f}", f"{known * tolerance:7.2f}", *verdict))


if __name__ == "__main__":
    main()
