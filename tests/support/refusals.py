"""Matches errors of the library as a command prints them: the message, and the hint in words."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from lookalike_core.cli.hint_words import full_message
from lookalike_core.errors import LookalikeError


@contextmanager
def refuses(kind: type[LookalikeError], *, match: str) -> Iterator["pytest.ExceptionInfo[LookalikeError]"]:
    """Works like `pytest.raises`, but matches the text about options as well."""
    with pytest.raises(kind) as caught:
        yield caught
    message = full_message(caught.value)
    assert re.search(match, message), message
