"""Measures the time and memory of fitting a head, on vectors of a size of one's choice.

    python benchmarks/fit.py [--points 10000] [--dimension 2048] [--classes 100] [--rounds 3] [--unlabelled]
        [--output FILE.json]

It fills an embedded collection with random clouds, one for each class. Each round is a process of its own
that does all that `exporter fit` does, except the ONNX model, for which there are no weights: it reads the
vectors, holds out a fifth, chooses and fits the layer, evaluates it, and writes the head. It also prints
the processor time, which other work on the machine affects less.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from unittest import mock

from evaluate import fill
from lookalike_core.models.model_manifest import ModelManifest
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_exporter.heads.fit import FitRequest, fit_head
from lookalike_exporter.heads.head_file import Head
from lookalike_exporter.model_cache import ModelFile
from machine import describe, peak_bytes, write_results


def main() -> None:
    """Prints a line for each round, and the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--dimension", type=int, default=2048)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--unlabelled", action="store_true", help="Fit without labels.")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--once", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.once:
        print(json.dumps(fit_once(arguments.once, unlabelled=arguments.unlabelled)))
        return
    print(describe())
    with tempfile.TemporaryDirectory(prefix="lookalike-benchmark-") as folder:
        fill(Path(folder), arguments.points, arguments.dimension, arguments.classes)
        words = [sys.executable, __file__, "--once", folder, *["--unlabelled"] * arguments.unlabelled]
        rounds = []
        for _ in range(arguments.rounds):
            rounds.append(json.loads(subprocess.run(words, check=True, capture_output=True).stdout))
            print(rounds[-1], flush=True)
    median = {key: statistics.median(each[key] for each in rounds) for key in ("seconds", "cpu_s", "peak_mb")}
    size = f"{arguments.points} x {arguments.dimension}, {arguments.classes} classes"
    print(
        f"median of {arguments.rounds}, {size}: {median['seconds']:.1f} s, {median['cpu_s']:.1f} s of the "
        f"processor, peak {median['peak_mb']:.0f} MB"
    )
    write_results(arguments.output, {"of": size, "rounds": rounds, "median": median})


def fit_once(folder: Path, *, unlabelled: bool = False) -> dict[str, object]:
    """Fits a head to the only collection of a folder; returns time, memory and the chosen options."""
    settings = replace(Settings.from_environment(), home=folder)
    store = EmbeddedStore(settings.qdrant_dir)
    request = FitRequest(collections=store.names(), name="measured", unlabelled=unlabelled, force=True)
    with (
        mock.patch("lookalike_exporter.heads.fit.get_base_model", no_model),
        mock.patch("lookalike_exporter.heads.fit.get_headed_model", no_model),
    ):
        started = time.perf_counter()
        head = fit_head(request, store=store, settings=settings).head
        seconds = time.perf_counter() - started
    method = head.record["method"]
    return {
        "seconds": round(seconds, 2),
        "cpu_s": round(time.process_time(), 2),
        "peak_mb": round(peak_bytes() / 2**20, 1),
        "method": f"{method['method']} {method['pull']:g}",
    }


def no_model(wanted: CollectionManifest | Head, **_: object) -> ModelFile:
    """Stands in for the making of a model: returns a manifest, and a file that does not exist."""
    manifest = ModelManifest(
        identity=wanted.identity,
        weights=wanted.base.weights if isinstance(wanted, Head) else wanted.weights,
        graph_revision=1,
        exporter_version="0",
    )
    return ModelFile(path=Path("none.onnx"), manifest=manifest)


if __name__ == "__main__":
    main()
