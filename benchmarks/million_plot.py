"""Draws how the steps of `million.py` grow with the number of points."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NOT_DRAWN = ("filtered",)
"""Steps of several searches that have nothing to do with each other."""


def draw_growth(cases: Mapping[str, Mapping[str, Any]], output: Path) -> None:
    """Draws each step's processor time over the points, log-log, with a line of N log N from its first point.

    Other programs lengthen it much less than the seconds by the clock.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "lookalike"  # the same figures give the same file
    figure = Figure(figsize=(7.2, 5.2), layout="constrained")
    axes = figure.subplots()
    for step, seconds in list_seconds(cases).items():
        points = sorted(seconds)
        [line] = axes.plot(points, [seconds[n] for n in points], marker="o", label=step)
        first = points[0]
        grown = [seconds[first] * n * math.log(n) / (first * math.log(first)) for n in points]
        axes.plot(points, grown, linestyle=":", linewidth=1, color=line.get_color())
    axes.plot([], [], linestyle=":", linewidth=1, color="black", label="N log N")
    axes.set(xscale="log", yscale="log", xlabel="points", ylabel="seconds of the processor (warm query: p50)")
    axes.grid(visible=True, which="major", linewidth=0.4)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(output, metadata={"Date": None} if output.suffix == ".svg" else None)


def list_seconds(cases: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[int, float]]:
    """Returns the seconds of each step by the number of points, of the cases that are not quantized.

    Those of a warm query are by the clock, in the median. A step that was measured for one number of points
    alone is left out: nothing is seen of how it grows.
    """
    found: dict[str, dict[int, float]] = {}
    for name, steps in cases.items():
        shape, _, quantize = name.partition(", ")
        points, _, dimension = shape.partition(" x ")
        for step, figures in steps.items():
            seconds = figures["p50_ms"] / 1000 if step == "warm" else figures["cpu_s"]
            if quantize == "none" and step not in NOT_DRAWN:
                label = f"{step}, {dimension} values" if dimension != "512" else step
                found.setdefault(label, {})[int(points)] = seconds
    return {label: seconds for label, seconds in found.items() if len(seconds) > 1}
