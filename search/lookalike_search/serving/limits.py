"""The limits within which requests are served."""

from dataclasses import dataclass

from lookalike_core.models.embedder import SMALL_JOB


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingLimits:
    """Sizes and times; a request beyond them is refused, and the others are served.

    `body_bytes` and `body_s` are those of a request's body, `form_bytes` those of all but its images.
    `pixels` are those of an image. `examples` is the number of images in one request, `waiting` that of
    requests that wait or are worked on. Images that arrive within `gather_s` are embedded together, at most
    `batch` of them; one that has waited `queue_s` for the model is refused. Decoding one may take `decode_s`,
    and the head of a request `head_s`. A client that takes nothing of a response for `stall_s` is
    disconnected. Collections are looked at for changes every `refresh_s`, those of a server every
    `refresh_server_s`. Uploads are cached for `upload_s` after their last use, all of them within
    `upload_bytes`. The images of a server's collection are ordered anew after `reorder_s`.
    """

    body_bytes: int = 64 * 2**20
    form_bytes: int = 2**20
    body_s: float = 30.0
    head_s: float = 10.0
    stall_s: float = 30.0
    head_bytes: int = 32 * 2**10
    pixels: int = 100_000_000
    decode_s: float = 20.0
    examples: int = 32
    waiting: int = 64
    batch: int = SMALL_JOB
    gather_s: float = 0.002
    queue_s: float = 10.0
    connections: int = 512
    shutdown_s: int = 30
    refresh_s: float = 1.0
    refresh_server_s: float = 10.0
    retry_after_s: int = 1
    thumbnail_bytes: int = 256 * 2**20
    upload_bytes: int = 64 * 2**20
    upload_s: float = 1800.0
    reorder_s: float = 60.0


LIMITS = ServingLimits()
"""The limits of `search serve`."""
