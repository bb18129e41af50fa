"""Plots of studied votes: how often each rule is right, over the number of voters and over noise."""

import base64
import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from lookalike_core.text import format_count, one_line

from lookalike_search.evaluation.bootstrap import Estimate
from lookalike_search.evaluation.summary import Evaluation
from lookalike_search.evaluation.vote_study import StudiedRule, StudyPart, VoteStudy
from lookalike_search.reports.plots import (
    COLOURS,
    MARKERS,
    open_figure,
    percent_tick,
    save_figure,
    write_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANEL_INCHES, _ROW_INCHES = 2.5, 3.1
_TITLE_WIDTH = 150
_LEAST_HEIGHT = 0.05
"""Least height of the vertical axis, as a share, so that differences of nothing are not blown up."""

_DODGE = 0.11
"""Horizontal distance of lines, so that their bars do not hide each other; places are 1 apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Series:
    """A line of each panel: the same queries over k, or the same k over noise."""

    label: str
    places: Sequence[str]
    points: Sequence[tuple[StudyPart, int]]

    def values(self, rule: StudiedRule) -> list[Estimate]:
        """Returns the accuracy of a rule at each place."""
        return [part.accuracy[k][rule] for part, k in self.points]


def write_vote_plot(file: Path, evaluations: Sequence[Evaluation]) -> None:
    """Draws the studies of evaluations into a file with one of `PLOT_SUFFIXES`, atomically.

    There is a row for each evaluation and a panel for each rule: lines over k for the stored vectors and for
    each level of noise, or one line over noise where a single k was studied. Bands and bars are intervals.
    """
    with open_figure() as figure:
        _draw(figure, evaluations)
        save_figure(figure, file)


def vote_plot_url(evaluation: Evaluation) -> str:
    """Returns the plot of one study as a `data:` URL of a PNG."""
    target = io.BytesIO()
    with open_figure() as figure:
        _draw(figure, [evaluation])
        write_figure(figure, target, "png")
    return f"data:image/png;base64,{base64.b64encode(target.getvalue()).decode()}"


def _draw(figure: "Figure", evaluations: Sequence[Evaluation]) -> None:
    studied = [(each, each.vote_study) for each in evaluations if each.vote_study]
    figure.set_size_inches(_PANEL_INCHES * len(StudiedRule), _ROW_INCHES * len(studied))
    for row, (evaluation, study) in enumerate(studied):
        series = _list_series(study)
        lowest, highest = _limits(study)
        first: Axes | None = None
        for column, rule in enumerate(StudiedRule):
            number = row * len(StudiedRule) + column + 1
            axes = figure.add_subplot(len(studied), len(StudiedRule), number, sharey=first)
            first = first or axes
            _draw_rule(axes, series, rule)
            axes.set_title(rule, fontsize=10)
            axes.set_xlabel("k" if len(study.ks) > 1 else "noise", fontsize=9)
            axes.tick_params(labelleft=column == 0)
            axes.set_ylim(lowest, highest)
        if first is not None:
            first.set_ylabel("right votes", fontsize=9)
            first.annotate(
                textwrap.fill(_heading(evaluation), _TITLE_WIDTH),
                (0, 1.13),
                xycoords="axes fraction",
                fontsize=11,
                va="bottom",
            )
            first.legend(
                loc="upper left",
                bbox_to_anchor=(0, -0.2),
                ncols=6,
                frameon=False,
                fontsize=9,
                borderaxespad=0,
            )
    figure.subplots_adjust(left=0, right=1, bottom=0, top=1, wspace=0.08, hspace=0.65)


def _heading(evaluation: Evaluation) -> str:
    classes = evaluation.images.vectors.classes
    chance = 100 * np.bincount(classes).max() / len(classes)
    count = len(evaluation.images.vectors.names)
    return (
        f"{one_line(evaluation.collection)}: right votes with 95 % intervals, of {count} classes "
        f"(always the largest: {chance:.1f} %)"
    )


def _list_series(study: VoteStudy) -> list[_Series]:
    if len(study.ks) == 1:
        [k] = study.ks
        levels = [f"{part.noise:g}" for part in study.noisy]
        return [
            _Series(
                label=f"a sample of {format_count(len(study.noisy[0].rows), 'image')}, {k} voters",
                places=levels,
                points=[(part, k) for part in study.noisy],
            )
        ]
    places = [str(k) for k in study.ks]
    return [
        _Series(label=_label(part), places=places, points=[(part, k) for k in study.ks])
        for part in study.parts
    ]


def _label(part: StudyPart) -> str:
    if part.noise is None:
        return f"stored vectors, {format_count(len(part.rows), 'image')}"
    return f"noise {part.noise:g}, {format_count(len(part.rows), 'image')}"


def _limits(study: VoteStudy) -> tuple[float, float]:
    """Returns the ends of the vertical axis, which leave all intervals inside."""
    found = [each for part in study.parts for rules in part.accuracy.values() for each in rules.values()]
    values = np.array([[each.value, each.low, each.high] for each in found])
    values = values[np.isfinite(values)]
    if not len(values):
        return 0, 1
    low, high = values.min(), values.max()
    margin = 0.05 * max(high - low, _LEAST_HEIGHT)
    return min(low, high - _LEAST_HEIGHT) - margin, high + margin


def _draw_rule(axes: "Axes", series: Sequence[_Series], rule: StudiedRule) -> None:
    """Draws a band around the first line, and bars at the points of the others, each beside the other."""
    places = np.arange(len(series[0].places))
    for number, each in enumerate(series):
        found = np.array([[one.value, one.low, one.high] for one in each.values(rule)])
        value, low, high = found.T
        colour, at = COLOURS[number % len(COLOURS)], places + _DODGE * (number - (len(series) - 1) / 2)
        if number == 0:
            axes.fill_between(at, low, high, color=colour, alpha=0.18, linewidth=0)
        else:
            axes.vlines(at, low, high, color=colour, linewidth=1)
        axes.plot(
            at,
            value,
            color=colour,
            marker=MARKERS[number % len(MARKERS)],
            linestyle=("-", "--", "-.", ":")[number % 4],
            markersize=4.5,
            linewidth=1.4,
            label=each.label,
        )
    axes.set_xticks(places, series[0].places)
    axes.tick_params(labelsize=9)
    axes.set_xlim(-0.5, len(places) - 0.5)
    axes.yaxis.set_major_formatter(percent_tick)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
