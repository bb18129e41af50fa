"""Everything that can go wrong and the exit code that it ends a command with.

    LookalikeError                 1   anything else failed
    ├── UsageError                 2   wrong usage
    ├── ModelError                 3   a model that cannot be had or run
    │   ├── WeightsError           3   weights missing, damaged or of another network
    │   └── ProviderError          3   a required GPU that is not there
    ├── PictureError               4   a picture that cannot be read
    │   └── MissingDecoderError    4   what would read it is not installed
    ├── StoreError                 5   the store cannot be reached or refuses
    │   └── StoreRefusedError      5   the key may not do that
    ├── CollectionError            6   a collection that does not fit
    │   ├── CollectionMissingError 6   it is not there
    │   └── ManifestError          6   it is there and holds another space, or is not ours
    └── StoreLockedError           7   another process is using it

A message says what failed, on which path, and what to do next. Only `console` prints it.
"""

from enum import StrEnum
from typing import ClassVar


class LookalikeError(Exception):
    """The root: every error that a command reports in one line."""

    exit_code: ClassVar[int] = 1


class UsageError(LookalikeError):
    """The command was asked for something that does not fit together."""

    exit_code = 2


class ModelError(LookalikeError):
    """A model cannot be exported, loaded or run."""

    exit_code = 3


class WeightsError(ModelError):
    """A weights file is missing, damaged, or belongs to another network."""


class ProviderError(ModelError):
    """The execution provider that was required is not the one in use."""


class SkipReason(StrEnum):
    """Why a picture is left out; the closed set that `skipped` is drawn from."""

    VANISHED = "vanished"
    """It was listed and is not there."""
    UNREADABLE = "unreadable"
    """The system refuses to read it, it changes while it is read, or it is damaged."""
    BAD_NAME = "bad-name"
    """Its name is not UTF-8."""
    EMPTY = "empty"
    """It has no bytes."""
    NOT_AN_IMAGE = "not-an-image"
    """Its content is no image."""
    UNSUPPORTED_FORMAT = "unsupported-format"
    """Its format or its samples are not supported, or what would decode it is not installed."""
    TRUNCATED = "truncated"
    """It ends before its pixels do."""
    TOO_LARGE = "too-large"
    """It has more bytes or pixels than are decoded, or does not fit into memory."""
    NO_EMBEDDING = "no-embedding"
    """The network gives it no vector that can be compared."""


class PictureError(LookalikeError):
    """A picture cannot be read; `reason` says why in one of a closed set of words."""

    exit_code = 4

    def __init__(self, message: str, *, reason: SkipReason) -> None:
        super().__init__(message)
        self.reason = reason


class MissingDecoderError(PictureError):
    """A picture could be read if `needed` were installed."""

    def __init__(self, message: str, *, needed: str) -> None:
        super().__init__(
            f"{message}; install {needed}, or convert it to JPEG", reason=SkipReason.UNSUPPORTED_FORMAT
        )
        self.needed = needed


class StoreError(LookalikeError):
    """The store cannot be reached, or refuses what it was asked."""

    exit_code = 5


class StoreRefusedError(StoreError):
    """The key, or the lack of one, does not allow what was asked."""


class CollectionError(LookalikeError):
    """A collection is not what was asked for."""

    exit_code = 6


class CollectionMissingError(CollectionError):
    """There is no such collection."""


class ManifestError(CollectionError):
    """A collection or model holds another space than the one asked for, or is not ours."""


class StoreLockedError(LookalikeError):
    """Another process holds the store."""

    exit_code = 7
