"""Prints only paths on stdout, for other programs: `--paths` and `--print0`."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from lookalike_core.cli.console import say, show_path
from lookalike_core.errors import UsageError

Print0Option = Annotated[
    bool, typer.Option("--print0", help="Like --paths, each ended by NUL, for xargs -0.")
]


def require_one_output(*, paths: bool, print0: bool, as_json: bool) -> None:
    """Refuses more than one form of output.

    Raises:
        UsageError: more than one is given.
    """
    if paths + print0 + as_json > 1:
        raise UsageError("--paths, --print0 and --json are different forms of output; use one of them")


def show_files(files: Iterable[Path], *, print0: bool) -> None:
    """Prints paths in the bytes of the file system, for any encoding of stdout."""
    end = "\0" if print0 else "\n"
    for file in files:
        if end in str(file):
            say(f"left out, since its name has a line break: {file}; use --print0")
        else:
            show_path(file, end=end)
