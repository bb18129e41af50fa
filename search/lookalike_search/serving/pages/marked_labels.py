"""The table of labels of the suspects that were marked; the page itself changes nothing."""

import csv
import io
from collections.abc import Iterable, Mapping
from enum import StrEnum

from lookalike_search.analysis.audit_json import WrongLabel
from lookalike_search.analysis.label_table import LABEL_COLUMNS, label_rows


class LabelMark(StrEnum):
    """What is to become of the class of an image."""

    CHANGE = "change"
    KEEP = "keep"


DEFAULT_MARK = LabelMark.CHANGE
"""The mark of a suspect before anybody marks it, as `search audit --apply` takes them all."""


def marked_suspects(suspects: Iterable[WrongLabel], marks: Mapping[str, LabelMark]) -> list[WrongLabel]:
    """Returns the suspects whose class is to change, by their ids."""
    return [each for each in suspects if marks.get(each["id"], DEFAULT_MARK) is LabelMark.CHANGE]


def write_labels(suspects: Iterable[WrongLabel]) -> bytes:
    """Returns the table of the classes that images should have, as `search audit --apply` writes it."""
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(LABEL_COLUMNS)
    writer.writerows(label_rows(suspects))
    return table.getvalue().encode("utf-8", "surrogateescape")
