"""What an ingest asks of an engine: to read and embed files, and to write points, on any machines.

All decisions stay in the process of the ingest. Files are at the same paths on every machine.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.images.scan import FoundFile
from lookalike_core.stores.points import ImagePoint

from lookalike_ingest.image_reader import ReadFile

WRITTEN_AT_ONCE = 256
"""How many files an engine's batches for writing have."""


class EngineName(StrEnum):
    """The engines that can be chosen; without one, this process embeds."""

    RAY = "ray"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineChoice:
    """An engine, and the address of its cluster; without one, the engine's own default applies."""

    name: EngineName
    address: str | None = None


def choose_engine(name: EngineName | None, address: str | None) -> EngineChoice | None:
    """Returns the engine that the arguments name; None is this process.

    Raises:
        UsageError: an address is given without an engine, or is empty.
    """
    if address is not None and name is None:
        raise UsageError(
            "an address has a meaning only with an engine",
            argument=Argument.ADDRESS,
            hint=Hint(Action.USE, {Argument.ENGINE: EngineName.RAY}),
        )
    if address is not None and not address.strip():
        raise UsageError("the address is empty", argument=Argument.ADDRESS)
    return None if name is None else EngineChoice(name=name, address=address)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileToEmbed:
    """A file to embed with the models at these paths.

    It is not decoded if it still has the `known_sha256`, whose vectors are stored.
    """

    found: FoundFile
    models: Sequence[Path]
    known_sha256: str | None = None


class Engine(Protocol):
    """Reads, embeds and writes; what a lost machine was doing is done again by another.

    Every method raises a `LookalikeError` if the engine cannot go on.
    """

    def hash_files(self, files: Sequence[FoundFile]) -> Iterator[str | None]:
        """Yields the SHA-256 of each file, in order; None for one that cannot be read."""

    def embed_files(self, files: Sequence[FileToEmbed]) -> Iterator[ReadFile]:
        """Yields each file, in order, read and embedded: its image is an `EmbeddedImage` or None."""

    def upsert(self, collection: str, points: Sequence[ImagePoint]) -> Callable[[], None]:
        """Starts to write points, and returns a function that waits until they are written."""

    def close(self) -> None:
        """Ends what is under way, and releases the machines."""
