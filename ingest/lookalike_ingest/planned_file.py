"""Files on their way through an ingest: found and perhaps settled by their size and times, then planned."""

from collections.abc import Sequence
from dataclasses import dataclass

from lookalike_core.images.decoding import DecodedImage
from lookalike_core.images.scan import FoundFile

from lookalike_ingest.changes import Decision
from lookalike_ingest.image_reader import EmbeddedImage
from lookalike_ingest.labels import Label


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFile:
    """A file and what to do about it: one decision for each target.

    `image` is None if the file need not be embedded.
    """

    path: str
    decisions: Sequence[Decision]
    sha256: str = ""
    image: DecodedImage | EmbeddedImage | None = None

    @property
    def embeds(self) -> bool:
        """Whether it must be embedded for any target."""
        return any(decision.embeds for decision in self.decisions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A file that was found, and each target's decision by its size and times; None if it must be read."""

    found: FoundFile
    label: Label
    decisions: Sequence[Decision | None]
