"""An evaluation as reports and pages show it."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from lookalike_core.text import json_line
from lookalike_search.commands.evaluation_format import evaluation_json
from lookalike_search.commands.mistake_format import MOST_PAIRS
from lookalike_search.evaluation.head_splits import MEANINGS
from lookalike_search.evaluation.leave_one_out import leave_one_out
from lookalike_search.evaluation.runs import Setting
from lookalike_search.evaluation.summary import FIGURES, Evaluation, sort_worst_first, summarise
from lookalike_search.reports.page import environment
from lookalike_search.reports.shown_evaluation import (
    ShownEvaluation,
    confusion_rows,
    read_evaluation,
    show_evaluation,
    shown_classes,
)
from report_pages import Collection, Draw, make_collection


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory, draw: Draw) -> Collection:
    """Returns a `Collection`."""
    return make_collection(tmp_path_factory.mktemp("pictures"), draw)


def parts_of(shown: ShownEvaluation) -> list[str]:
    """Returns all parts of an evaluation as HTML."""
    made: Any = environment().get_template("evaluation_parts.html").module
    columns = shown_classes(shown.confusion)
    rows = list(confusion_rows(shown, columns))
    names = [shown.names[column] for column in columns]
    return [
        made.about(shown),
        made.key_figures(shown, FIGURES, MEANINGS),
        made.verdicts(shown),
        made.diagrams(shown),
        made.class_table(shown, "s", sort_worst_first),
        made.confusion_table(shown, "s", names, rows, lambda _: ""),
    ]


def small(collection: Collection) -> Evaluation:
    """Returns an evaluation of three images, one of which is alone in its class."""
    images = collection.evaluation.images
    three = replace(
        images.vectors,
        vectors=np.array([[1, 0], [1, 0.1], [0, 1]], dtype=np.float32),
        classes=np.array([0, 0, 1]),
        copies=np.arange(3),
        names=images.vectors.names[:2],
    )
    return summarise(
        "small", replace(images, vectors=three, payloads=images.payloads[:3]), leave_one_out(three)
    )


@pytest.mark.parametrize("is_small", [False, True])
def test_a_record_is_shown_as_its_evaluation(collection: Collection, is_small: bool) -> None:
    """Every part has the same HTML, also where there are no figures."""
    setting = Setting(
        evaluation=small(collection) if is_small else collection.evaluation, differences=[], parts=None
    )
    record = json.loads(json_line(evaluation_json(setting, "embedded", 10)))
    shown = parts_of(show_evaluation(setting, k=10))
    assert parts_of(read_evaluation(record)) == shown
    assert ("<svg viewBox" in shown[3]) is not is_small


def test_the_record_has_the_images_of_confusions(collection: Collection) -> None:
    """The worst first, each pair of a query and a neighbour of the other class; and of wrong verdicts."""
    setting = Setting(evaluation=collection.evaluation, differences=[])
    record = evaluation_json(setting, "embedded", 10)
    class_of = {payload.id: payload.class_name for payload in collection.payloads}
    shares = [each["share"] for each in record["confused"]]
    assert shares == sorted(shares, reverse=True)
    for each in record["confused"]:
        classes = {(class_of[p["query"]["id"]], class_of[p["neighbour"]["id"]]) for p in each["pairs"]}
        assert classes == {(each["class"], each["neighbour_class"])}
    assert 0 < sum(len(each["pairs"]) for each in record["confused"]) <= MOST_PAIRS
    assert record["wrong"]["total"] == len(record["wrong"]["queries"]) > 0
    assert all(
        class_of[each["id"]] == each["class"] != each["verdict"] for each in record["wrong"]["queries"]
    )


def test_a_whole_heat_is_at_least_one_step(collection: Collection) -> None:
    """So that no confusion looks like none."""
    shown = show_evaluation(Setting(evaluation=collection.evaluation, differences=[]), k=10)
    cells = [cell for _, cells in confusion_rows(shown, range(3)) for cell in cells]
    assert {cell.step for cell in cells if cell.count and not cell.is_right} <= set(range(1, 11))
    assert max(cell.step for cell in cells if not cell.is_right) == 10
