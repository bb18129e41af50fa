"""The tables that `search audit` writes: all findings, and labels for `ingest run`."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from lookalike_core.atomic import atomic_path
from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.outputs import is_table_of
from lookalike_core.stores.points import Payload

from lookalike_search.analysis.audit import Audit
from lookalike_search.analysis.audit_json import label_json
from lookalike_search.analysis.label_table import LABEL_COLUMNS, label_rows

COLUMNS = (
    *("finding", "dataset", "path", "class", "suggested_class", "score", "score_is"),
    *("false_discovery_rate", "other_dataset", "other_path", "other_class"),
)


def write_findings(file: Path, audit: Audit) -> None:
    """Writes one row per finding; the file appears once it is complete."""
    _write(file, COLUMNS, _rows(audit))


def write_labels(file: Path, audit: Audit) -> None:
    """Writes the table of labels of the images whose class is probably wrong."""
    _write(file, LABEL_COLUMNS, label_rows(map(label_json, audit.wrong_labels)))


is_findings = is_table_of(COLUMNS)
"""Whether a file is a table that `write_findings` wrote."""

is_labels = is_table_of(LABEL_COLUMNS)
"""Whether a file is a table that `write_labels` wrote."""


def require_one_dataset(audit: Audit) -> None:
    """Refuses wrong labels in several datasets, whose paths one table could not tell apart.

    Raises:
        UsageError: there are several; the message names them.
    """
    datasets = sorted({each.payload.dataset for each in audit.wrong_labels})
    if len(datasets) > 1:
        raise UsageError(
            f"the wrong labels are in the datasets {', '.join(datasets)}, and a table of labels is for one",
            hint=Hint(Action.USE, {Argument.DATASET: datasets[0]}),
        )


def _write(file: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with atomic_path(file) as temporary, temporary.open("w", encoding="utf-8", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(columns)
        writer.writerows(rows)


def _rows(audit: Audit) -> Iterator[Sequence[object]]:
    for label in audit.wrong_labels:
        score = (label.suggested, label.chance, "chance", label.false_discovery_rate)
        yield (
            "wrong-label",
            *_names(label.payload),
            *score,
            *(_names(label.example) if label.example else ()),
        )
    for outlier in audit.outliers:
        yield ("outlier", *_names(outlier.payload), "", outlier.p_value, "p", outlier.false_discovery_rate)
    for pair in audit.near_pairs:
        kind = "exact-duplicate" if pair.is_identical else "near-duplicate"
        names = _names(pair.payload)
        yield (kind, *names, "", pair.similarity, "similarity", "", *_names(pair.other))
    for overlap in audit.overlaps:
        share = overlap.taken / overlap.images
        row = ("", "", overlap.class_name, "", share, "share", overlap.false_discovery_rate)
        yield ("classes", *row, "", "", overlap.other)
    for faulty in audit.faults or ():
        yield (faulty.fault, *_names(faulty.payload), "", faulty.value, "measure", "")


def _names(payload: Payload) -> tuple[str, str, str]:
    return payload.dataset, payload.path, payload.class_name or ""
