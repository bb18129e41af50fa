"""Checks the environment variables that are set."""

import os
import re
from collections.abc import Callable, Iterator, Mapping

from lookalike_core.cli.hint_words import full_message
from lookalike_core.errors import LookalikeError, UsageError
from lookalike_core.settings import VARIABLES, Settings
from lookalike_core.stores.address import ServerAddress, check_api_key
from lookalike_core.stores.open_store import check_store_name

from lookalike.commands.checks.findings import Finding, Status, ok, warning


def check_environment(environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Yields a problem for each malformed variable, and a warning for one that has no effect."""
    wrong = list(_malformed(environment))
    yield from wrong
    ours = [name for name in environment if name.startswith("LOOKALIKE_")]
    for name in sorted(set(ours) - VARIABLES.keys()):
        yield warning(f"{name} is not read; the variables are {', '.join(VARIABLES)}", f"unset {name}")
    if environment.get("QDRANT_URL") and environment.get("LOOKALIKE_STORE"):
        yield warning("QDRANT_URL has no effect, since LOOKALIKE_STORE is set", "unset QDRANT_URL")
    used = [name for name in VARIABLES if environment.get(name)]
    if used and not wrong:
        yield ok(f"{', '.join(used)} can be used")
    elif not used:
        yield ok("no variable is set: all are optional")


def _malformed(environment: Mapping[str, str]) -> Iterator[Finding]:
    for name, check in _CHECKS.items():
        if value := environment.get(name):
            try:
                check(value)
            except LookalikeError as error:
                yield Finding(
                    status=Status.PROBLEM,
                    message=_naming(name, full_message(error)),
                    remedy=f"unset {name}",
                    variable=name,
                )


def _naming(name: str, message: str) -> str:
    return message if name in message else f"{name}: {message}"


def _check_setting(name: str) -> Callable[[str], object]:
    return lambda value: Settings.from_environment({"LOOKALIKE_HOME": os.sep, name: value})


def _check_token(value: str) -> None:
    """Refuses a token that no client could send, as the server does, whose modules take long to import."""
    if not re.fullmatch(r"[\x21-\x7e]+", value):
        raise UsageError("the token has characters that a header cannot hold; use letters and digits")


_CHECKS: Mapping[str, Callable[[str], object]] = {
    "LOOKALIKE_HOME": _check_setting("LOOKALIKE_HOME"),
    "LOOKALIKE_STORE": lambda value: check_store_name(value, "LOOKALIKE_STORE"),
    "QDRANT_URL": ServerAddress.parse,
    "QDRANT_API_KEY": check_api_key,
    "LOOKALIKE_PROVIDER": _check_setting("LOOKALIKE_PROVIDER"),
    "LOOKALIKE_TOKEN": _check_token,
}
"""Variable -> what raises where its value is malformed."""
