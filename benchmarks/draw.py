"""Draws a plot of what `embed.py` measured: images per second, by provider, precision and peer.

    python benchmarks/draw.py VGG16.json RESNET.json --output throughput.svg

Each panel is a network, each bar the median of the rounds, and the line on it their range.
"""

import argparse
import json
from pathlib import Path
from statistics import median
from typing import Any

OURS, PEER = "#3b6fb6", "#b0b6bd"


def main() -> None:
    """Writes one plot, in the format of its file name's suffix."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", nargs="+", type=Path, help="files written by embed.py --json")
    parser.add_argument("--output", required=True, type=Path, help="a file that ends in .svg or .png")
    arguments = parser.parse_args()
    draw([json.loads(path.read_text(encoding="utf-8")) for path in arguments.results], arguments.output)


def draw(results: list[dict[str, Any]], output: Path) -> None:
    """Draws a panel for each network and a bar for each way, in the order of measurement."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "lookalike"  # the same figures give the same file
    rows = max(len(result["images_per_second"]) for result in results)
    figure = Figure(figsize=(4.6 * len(results), 0.8 + 0.32 * rows), layout="constrained")
    panels = figure.subplots(1, len(results), squeeze=False)[0]
    for panel, result in zip(panels, results, strict=True):
        _draw_network(panel, result)
    figure.savefig(output, metadata={"Date": None} if output.suffix == ".svg" else None)


def _draw_network(panel: Any, result: dict[str, Any]) -> None:  # noqa: ANN401 - an untyped library
    speeds: dict[str, list[float]] = result["images_per_second"]
    names = list(speeds)[::-1]
    middle = [median(speeds[name]) for name in names]
    below = [m - min(speeds[name]) for name, m in zip(names, middle, strict=True)]
    above = [max(speeds[name]) - m for name, m in zip(names, middle, strict=True)]
    colours = [OURS if _is_ours(name) else PEER for name in names]
    panel.barh(names, middle, xerr=[below, above], color=colours, error_kw={"ecolor": "#444", "lw": 1})
    for row, speed in enumerate(middle):
        panel.text(0, row, f"  {speed:.1f}", va="center", color="white" if _is_ours(names[row]) else "black")
    panel.set_title(result["network"], fontsize=10)
    panel.set_xlabel("images per second")
    panel.spines[["top", "right"]].set_visible(False)


def _is_ours(name: str) -> bool:
    return name.removeprefix("ingest ").split()[0] in ("cpu", "openvino", "cuda")


if __name__ == "__main__":
    main()
