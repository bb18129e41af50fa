"""Measures the time of the projection of `search map` and of its quality, on random vectors.

    python benchmarks/project.py [--points 1000 --points 5000] [--dimension 2048] [--classes 10]

Reading vectors and thumbnails is not measured.
"""

import argparse
import time

import numpy as np
from lookalike_search.analysis.projection import measure_trust, project
from machine import peak_bytes


def main() -> None:
    """Prints a line for each number of points."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, action="append")
    parser.add_argument("--dimension", type=int, default=2048)
    parser.add_argument("--classes", type=int, default=10)
    arguments = parser.parse_args()
    project(np.eye(8, dtype=np.float32), seed=0)  # loads the library
    for points in arguments.points or (1_000, 2_000, 5_000):
        random = np.random.default_rng(0)
        classes = np.arange(points) % arguments.classes
        centres = random.exponential(size=(arguments.classes, arguments.dimension))
        vectors = (centres[classes] + random.exponential(size=(points, arguments.dimension))).astype(
            np.float32
        )
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        started, cpu = time.perf_counter(), time.process_time()
        found = project(vectors, seed=0)
        placed, placed_cpu = time.perf_counter() - started, time.process_time() - cpu
        started = time.perf_counter()
        measure_trust(vectors, found.places, classes, seed=0)
        measured = time.perf_counter() - started
        peak = peak_bytes() / 2**20
        print(
            f"{points} x {arguments.dimension}: placed in {placed:.1f} s ({placed_cpu:.1f} s of processor), "
            f"measured in {measured:.1f} s, peak {peak:.0f} MB",
            flush=True,
        )


if __name__ == "__main__":
    main()
