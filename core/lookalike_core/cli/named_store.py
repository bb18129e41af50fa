"""The store that `--store` named: the commands that messages advise are given it, too."""

import re
import shlex

_ADVISED = re.compile(
    r"\b(?:ingest (?:run|rebuild|import|remove|copy|status|verify)|search (?:query|calibrate)|exporter fit)\b"
    r"(?! with\b| again\b)"
)
"""Commands on collections in a sentence, but for those without their operands, as in `ingest run with`."""

_named: list[str] = []
"""The value of `--store`; empty if the command was given none."""


def remember_store(named: str | None) -> str | None:
    """Keeps the value of `--store` for the messages of this process; the callback of the option."""
    _named[:] = [] if named is None else [named]
    return named


def advised(command: str) -> str:
    """Returns a command with `--store` as it was given; a URL that may have a password is not repeated."""
    shown = ("URL" if "://" in each and "@" in each else shlex.quote(each) for each in _named)
    return " ".join([command, *(f"--store {each}" for each in shown)])


def in_named_store(template: str) -> str:
    """Returns a sentence that is still to be formatted, with `--store` after each command that it advises."""
    return _ADVISED.sub(lambda command: advised(command[0]).replace("{", "{{").replace("}", "}}"), template)
