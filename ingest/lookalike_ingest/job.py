"""What the plan of an ingest and its application share."""

from collections.abc import Sequence
from dataclasses import dataclass

from lookalike_ingest.base_vectors import BaseVectors
from lookalike_ingest.report import IngestReport
from lookalike_ingest.request import IngestRequest, StopRequest
from lookalike_ingest.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestJob:
    """A folder that is asked for, the open collections that shall mirror it, and what was done so far.

    `base_vectors` are those of a head's base network. Every file has one decision for each target, in their
    order.
    """

    request: IngestRequest
    targets: Sequence[Target]
    base_vectors: BaseVectors
    report: IngestReport
    stop: StopRequest
