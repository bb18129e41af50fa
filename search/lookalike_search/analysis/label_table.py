"""The table of suggested classes, for `ingest run --labels`: of `search audit --apply` and of its page."""

from collections.abc import Iterable

from lookalike_search.analysis.audit_json import WrongLabel

LABEL_COLUMNS = ("path", "class", "class_before")
"""The columns of the table of labels. `ingest run --labels` ignores the last one: the class that was judged
wrong, by which a reader, and the next audit, tells the table from one of the user."""


def label_rows(suspects: Iterable[WrongLabel]) -> list[tuple[str, str, str]]:
    """Returns the rows of images with the classes that they should have, by path."""
    return sorted((each["path"], each["suggested"], each["class"] or "") for each in suspects)
