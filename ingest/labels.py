"""Classes from a table instead of from folders."""

import csv
from pathlib import Path

from lookalike.errors import UsageError


def read_labels(file: Path) -> dict[str, str | None]:
    """Root-relative POSIX path -> class, out of a UTF-8 CSV with the header `path,class`.

    An empty class stands for none. Further columns are ignored.

    Raises:
        UsageError: the file cannot be read, has another header or too short a line, or names a path twice.
    """
    labels: dict[str, str | None] = {}
    try:
        with file.open(encoding="utf-8-sig", newline="") as table:
            rows = csv.DictReader(table)
            if not {"path", "class"} <= set(rows.fieldnames or ()):
                raise UsageError(
                    f"{file}: the header must be path,class and is {','.join(rows.fieldnames or ())}"
                )
            for row in rows:
                if row["path"] is None or row["class"] is None:
                    raise UsageError(
                        f"{file}: line {rows.line_num} has too few cells; an empty class is: path,"
                    )
                path = row["path"].removeprefix("./")
                if path in labels:
                    raise UsageError(f"{file}: line {rows.line_num} names {path} a second time")
                labels[path] = row["class"] or None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{file} cannot be read as a UTF-8 CSV: {error}") from error
    return labels
