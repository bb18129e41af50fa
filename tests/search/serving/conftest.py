"""Fixtures of a server over a small real collection."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from served import Served, album, serving

__all__ = ["album"]


@pytest.fixture(scope="module")
def served(album: Any) -> Iterator[Served]:
    """Returns a server that listens on loopback, without a token."""
    with serving(album.folder / "home") as one:
        yield one


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    """Returns a client of `served`."""
    with served.client() as one:
        yield one


@pytest.fixture(scope="session")
def start_serving() -> Callable[..., Any]:
    """Returns `serving`."""
    return serving
