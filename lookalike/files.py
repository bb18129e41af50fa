"""Writing files so that what stands under a name is always whole."""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """A temporary path beside `target` that takes its place when the block ends without an error.

    The content is on the disk before the name is; after an error the target is as it was.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    temporary.touch(exist_ok=False)  # mkstemp's files are for their owner alone, and so would be the target
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def parse_json(text: str | bytes) -> Any:  # noqa: ANN401 - whatever is in it
    """Reads one JSON document, however it came here.

    Raises:
        ValueError: it is none, or nested deeper than Python follows.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def write_json(target: Path, data: Any) -> None:  # noqa: ANN401 - whatever json takes
    """Writes one JSON document, whole or not at all."""
    with atomic_path(target) as temporary:
        temporary.write_text(json.dumps(data, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
