"""Errors of the library as a command line says them: the message, and the hint in words."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from lookalike_core.cli.hint_words import full_message
from lookalike_core.errors import LookalikeError


@contextmanager
def refuses(kind: type[LookalikeError], *, match: str) -> Iterator["pytest.ExceptionInfo[LookalikeError]"]:
    """As `pytest.raises`, where the words about options belong to what is looked for."""
    with pytest.raises(kind) as caught:
        yield caught
    message = full_message(caught.value)
    assert re.search(match, message), message
