"""Plots of an evaluation: the confusion matrix, and precision@k by k.

Plots are drawn by matplotlib's object interface, without pyplot's global state.
"""

import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from lookalike_core.atomic import atomic_path
from lookalike_core.neighbours.precision import best_precision_at, precision_at
from lookalike_core.text import one_line
from numpy.typing import NDArray

from lookalike_search.evaluation.bootstrap import Estimate, estimate, mean_of
from lookalike_search.evaluation.leave_one_out import SHOWN, right_of
from lookalike_search.evaluation.summary import Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLOT_SUFFIXES = (".png", ".svg", ".pdf")

_BEST_BY = f"precision_at_{SHOWN}"
_DOTS_PER_INCH = 150
_WRITTEN_UP_TO = 15
"""Largest number of classes whose shares are written into the cells; of more, a colour bar shows them."""

_NAMED_UP_TO = 100
"""Largest number of class names on an axis; of more classes, every second or tenth is named."""

_DARK = 0.55
_NAME_LENGTH, _LEGEND_WIDTH = 24, 58
_SCALE_AT_LEAST = 0.05
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D1F")
"""Okabe and Ito's palette for every colour vision, without its yellow, which is too light for a line."""

MARKERS = "osD^vPX*"
"""Markers beside the colours, for prints in grey."""

_FONTS = (
    "DejaVu Sans",
    "Noto Sans",
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "WenQuanYi Micro Hei",
    "PingFang SC",
    "Hiragino Sans",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "Arial Unicode MS",
)
"""Fallback fonts, character by character, as far as they are installed."""

_MADE_BY = "lookalike, search evaluate --plot"
"""The metadata by which `is_plot` recognises a plot."""

_LARGEST_PLOT_BYTES = 64 * 2**20


def write_plot(file: Path, evaluations: Sequence[Evaluation], *, seed: int = 0) -> None:
    """Draws one or more evaluations into a file with one of `PLOT_SUFFIXES`, atomically.

    The left plot is the confusion matrix of the one with the highest precision@10: a row for each class of
    queries, a column for each class of neighbours. The right one is precision@1 to @10 of all, with 95 %
    intervals.
    """
    best = max(evaluations, key=lambda each: np.nan_to_num(each.figures[_BEST_BY].value))
    with open_figure() as figure:
        side = _side(len(best.confusion))
        figure.set_size_inches(_INCHES, _INCHES)
        _draw_confusion(_axes(figure, 0, 0, side, side), best, is_one_of=len(evaluations))
        _draw_precision(_axes(figure, 1.05 * side + 1.6, side - 3.9, 5.6, 3.9), evaluations, seed)
        save_figure(figure, file)


def save_figure(figure: "Figure", file: Path) -> None:
    """Writes a figure into a file with one of `PLOT_SUFFIXES`, atomically."""
    with atomic_path(file) as temporary:
        write_figure(figure, temporary, file.suffix.lower().removeprefix("."))


def write_figure(figure: "Figure", target: Path | BinaryIO, form: str) -> None:
    """Writes a figure as `png`, `svg` or `pdf`, as large as what is drawn, however long the names are."""
    metadata = {  # without dates: the same plot has the same bytes
        "png": {"Software": _MADE_BY},
        "svg": {"Creator": _MADE_BY, "Date": None},
        "pdf": {"Creator": _MADE_BY, "CreationDate": None},
    }
    figure.savefig(
        target,
        format=form,
        dpi=_DOTS_PER_INCH,
        bbox_inches="tight",
        pad_inches=0.25,
        metadata=metadata.get(form),
    )


def is_plot(file: Path) -> bool:
    """Returns whether a file is a plot of `write_plot`, which may be overwritten."""
    return file.stat().st_size <= _LARGEST_PLOT_BYTES and _MADE_BY.encode() in file.read_bytes()


@contextmanager
def open_figure() -> Iterator["Figure"]:
    """Yields an empty figure; names are not parsed as formulas, and missing glyphs cause no warning."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.font_manager import fontManager

    installed = set(fontManager.get_font_names())
    style: dict[Any, Any] = {
        "font.family": [name for name in _FONTS if name in installed],
        "text.parse_math": False,
        "text.usetex": False,
        "svg.fonttype": "none",
        "svg.hashsalt": "lookalike",
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with mpl.rc_context(style), warnings.catch_warnings():  # noqa: TID251 - see docs/architecture.md
        warnings.simplefilter("ignore")  # noqa: TID251 - as above
        yield Figure()


def _axes(figure: "Figure", left: float, bottom: float, width: float, height: float) -> "Axes":
    """Returns new axes at a place in inches."""
    return figure.add_axes((left / _INCHES, bottom / _INCHES, width / _INCHES, height / _INCHES))


_INCHES = 10.0
"""The figure's sides, which places are relative to; the saved image is cropped to what is drawn."""


def _side(classes: int) -> float:
    """Returns the side of the confusion matrix, in inches."""
    if classes <= _WRITTEN_UP_TO:
        return float(np.clip(0.55 * classes, 3.5, 8))
    return float(np.clip(0.17 * classes, 6, 17))


def _draw_confusion(axes: "Axes", evaluation: Evaluation, *, is_one_of: int) -> None:
    """Draws right neighbours in blue, and wrong ones, which are few, in orange on a scale of their own."""
    shares = evaluation.confusion / np.maximum(evaluation.confusion.sum(axis=1, keepdims=True), 1)
    right = np.eye(len(shares), dtype=bool)
    most = max(shares[~right].max(initial=0), _SCALE_AT_LEAST)
    wrong = axes.imshow(np.ma.masked_where(right | (shares == 0), shares), cmap="Oranges", vmin=0, vmax=most)
    axes.imshow(np.ma.masked_where(~right, shares), cmap="Blues", vmin=0, vmax=1)
    names = [_short(name) for name in evaluation.images.vectors.names]
    if len(names) <= _WRITTEN_UP_TO:
        _write_shares(axes, shares, np.where(right, shares, shares / most))
    else:
        place = axes.inset_axes((1.015, 0.6, 0.018, 0.4))
        bar = place.figure.colorbar(wrong, cax=place)
        bar.set_label("wrong neighbours, share of the row's", fontsize=9)
        bar.ax.yaxis.set_major_formatter(percent_tick)
    _name_classes(axes, names, shares.diagonal())
    which = (
        evaluation.collection
        if is_one_of == 1
        else f"{evaluation.collection}, which has the highest precision@10 of {is_one_of} settings"
    )
    axes.set_title(
        "Classes of the ten neighbours, in % of each row\n" + textwrap.fill(one_line(which), _LEGEND_WIDTH),
        fontsize=11,
        loc="left",
    )
    axes.set_xlabel("class of the neighbours")
    axes.set_ylabel(
        "class of the query" if len(names) <= _WRITTEN_UP_TO else "class of the query, and its share"
    )


def _short(name: str) -> str:
    name = one_line(name)
    return name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 1]}…"


def _write_shares(axes: "Axes", shares: NDArray[np.float64], darkness: NDArray[np.float64]) -> None:
    """Writes the shares above zero into their cells."""
    for (row, column), share in np.ndenumerate(shares):
        if share > 0:
            axes.text(
                column,
                row,
                _percent(share),
                ha="center",
                va="center",
                fontsize=9,
                color="white" if darkness[row, column] > _DARK else "#333333",
            )


def _percent(share: float) -> str:
    """Returns a share as `7.3` or `42`, and as `100` only for exactly all."""
    exact = 100 * share
    whole = share == 1 or (round(exact, 1) >= _NO_DECIMALS and round(exact) < _ALL)
    return f"{exact:.0f}" if whole else f"{exact:.1f}"


_NO_DECIMALS, _ALL = 10, 100


def percent_tick(share: float, _: float) -> str:
    """Returns a tick's label as `97 %`, or as `97.25 %` where ticks are not whole per cents."""
    percent = round(100 * share, 2)
    return f"{percent:g} %"


def _name_classes(axes: "Axes", names: Sequence[str], right: NDArray[np.float64]) -> None:
    """Labels both axes; where cells hold no numbers, a row's label has the share of right neighbours."""
    few = len(names) <= _WRITTEN_UP_TO
    size = 10 if few else 7
    ticks = range(0, len(names), -(-len(names) // _NAMED_UP_TO))
    rows = names if few else [f"{name}  {share:4.0%}" for name, share in zip(names, right, strict=True)]
    axes.set_xticks(ticks, [names[tick] for tick in ticks], fontsize=size, rotation=45 if few else 90)
    axes.set_yticks(ticks, [rows[tick] for tick in ticks], fontsize=size)
    if few:
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#e6e6e6", linewidth=0.5)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)


def _draw_precision(axes: "Axes", evaluations: Sequence[Evaluation], seed: int) -> None:
    cutoffs = range(1, SHOWN + 1)
    for number, evaluation in enumerate(evaluations):
        found = [_precision(evaluation, cutoff, seed) for cutoff in cutoffs]
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(
            cutoffs,
            [each.value for each in found],
            color=colour,
            marker=MARKERS[number % len(MARKERS)],
            linestyle=("-", "--", ":")[number // len(COLOURS) % 3],
            markersize=4,
            label=textwrap.fill(one_line(evaluation.collection), _LEGEND_WIDTH),
        )
        axes.fill_between(
            cutoffs,
            [each.low for each in found],
            [each.high for each in found],
            color=colour,
            alpha=0.15 if len(evaluations) <= len(COLOURS) // 2 else 0.06,
            linewidth=0,
        )
        best = [mean_of(best_precision_at(cutoff, evaluation.results.relevant)) for cutoff in cutoffs]
        if min(best) < 1:
            label = "best possible, of classes with so few images"
            axes.plot(cutoffs, best, color=colour, linestyle=(0, (1, 3)), linewidth=1, label=label)
    axes.set_xticks(cutoffs)
    axes.yaxis.set_major_formatter(percent_tick)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_title("Precision of the k nearest, with 95 % intervals", fontsize=11, loc="left")
    axes.set_xlabel("k")
    axes.set_ylabel("share of the query's class")
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.14), frameon=False, fontsize=9, borderaxespad=0)


def _precision(evaluation: Evaluation, cutoff: int, seed: int) -> Estimate:
    results = evaluation.results
    right = right_of(results.neighbours, evaluation.images.vectors.classes)
    return estimate(precision_at(cutoff, right, results.relevant), seed=seed)
