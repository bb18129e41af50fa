"""Indexes that are kept up to date with a folder."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest

import lookalike
from lookalike.errors import UsageError

Draw = Callable[..., list[Path]]


def test_an_index_follows_a_folder(tmp_path: Path, tiny_model: lookalike.Model, draw: Draw) -> None:
    """Each report that changed something is yielded; an event of the caller ends the watch."""
    album, stop = tmp_path / "album", Event()
    draw(album, "cat/1.png", "dog/1.png")
    with lookalike.open(tmp_path / "store", model=tiny_model) as index:
        reports = index.watch(album, stop=stop, prune_after=timedelta(days=1))
        assert next(reports).added == 2
        draw(album, "cat/2.png")
        report = next(reports)
        assert (report.added, report.unchanged, report.has_changes) == (1, 2, True)
        assert index.classes == {"cat": 2, "dog": 1}
        stop.set()
        assert list(reports) == []
        (album / "dog/1.png").unlink()
        draw(album, "dog/2.png")
        assert index.add(album, prune_after=timedelta(days=1)).waiting == 1
        assert index.add(album, prune_after=timedelta(0)).removed_paths == ("dog/1.png",)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"force": True}, UsageError),
        ({"dry_run": True}, UsageError),
        ({"part": (1, 2)}, UsageError),
        ({"poll_s": 0}, UsageError),
        ({"poll_s": "often"}, UsageError),
        ({"folders": []}, UsageError),
        ({"folders": "nowhere"}, UsageError),
        ({"labels": {}}, TypeError),
    ],
)
def test_wrong_arguments_of_a_watch_are_refused_by_the_call(
    tmp_path: Path, tiny_model: lookalike.Model, options: dict[str, Any], error: type[Exception]
) -> None:
    """Not only by the first report that is asked for."""
    with lookalike.open(tmp_path / "store", model=tiny_model) as index, pytest.raises(error):
        index.watch(**{"folders": tmp_path, **options})
