"""Files prepared for Pillow: the page that is the image comes first, parts that viewers ignore are removed.

Damage outside the pixels, or a wrong end, does not matter as long as all pixels are there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO

from lookalike_core.images import file_endings as endings
from lookalike_core.images import gif, jpeg, png, tiff_pages
from lookalike_core.images.formats import is_avif, is_heif, is_webp
from lookalike_core.images.frames import MAX_FRAMES
from lookalike_core.images.image_errors import unsupported_error
from lookalike_core.images.views import view_of, whole

Fingerprint = Callable[[BinaryIO], bytes | None]
"""Returns a hash of the image that a file decodes to; None if decoding fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readable:
    """A file that Pillow can open.

    `info` is metadata that Pillow does not read itself, under Pillow's keys. `is_first` is whether the image
    is the one that Pillow would choose. `sound_frames` returns how many leading frames lie within the image,
    and `extent` is how far the first one reaches, if that can be more than the header says. `mend` returns a
    repaired version to try when Pillow fails, or None. `is_cut_off` tells from the file's structure whether
    it ends early, and `lacks_pixels` whether the file has fewer pixels than Pillow returns, whose last lines
    are then empty.
    """

    stream: BinaryIO
    info: Mapping[str, object] = field(default_factory=dict)
    is_first: bool = True
    extent: tuple[int, int] | None = None
    sound_frames: Callable[[], int] = lambda: MAX_FRAMES
    mend: Callable[[Fingerprint], BinaryIO | None] = lambda _: None
    is_cut_off: Callable[[], bool] = lambda: False
    lacks_pixels: Callable[[], bool] = lambda: False


def readable(stream: BinaryIO, head: bytes, name: str) -> Readable:
    """Returns the version to give Pillow of a file that begins with `head`.

    Raises:
        ImageError: the format is not supported, or a part that the image needs is damaged.
    """
    if head.startswith(png.MAGIC):
        return _png(stream, name)
    if head.startswith(tiff_pages.MAGIC):
        return _tiff(stream, head, name)
    if is_webp(head):
        return _webp(stream)
    if is_avif(head) or is_heif(head):
        return Readable(stream=stream, is_cut_off=partial(endings.is_box_cut_off, stream))
    return _simple(stream, head)


def _simple(stream: BinaryIO, head: bytes) -> Readable:
    """Returns the description of a file that Pillow reads as it is."""
    if head.startswith(jpeg.MAGIC):
        mend, is_cut_off = partial(_complete_jpeg, stream), partial(jpeg.is_cut_off, stream)
        return Readable(stream=stream, mend=mend, is_cut_off=is_cut_off)
    if head.startswith(b"GIF8"):
        return Readable(
            stream=stream,
            extent=gif.first_extent(stream),
            sound_frames=partial(gif.count_sound_frames, stream, MAX_FRAMES),
            mend=partial(_complete, stream, _GIF_ENDS),
            is_cut_off=partial(gif.is_cut_off, stream),
        )
    if head.startswith(b"BM"):
        return Readable(stream=stream, is_cut_off=partial(endings.is_bmp_cut_off, stream))
    return Readable(stream=stream)


def _tiff(stream: BinaryIO, head: bytes, name: str) -> Readable:
    if head.startswith(b"MM\0+"):  # Pillow takes it for an ordinary one
        raise unsupported_error(f"{name} is a big-endian BigTIFF")
    page = tiff_pages.page_view(stream, head)
    is_cut_off = partial(tiff_pages.is_cut_off, page or stream)
    return Readable(stream=page or stream, is_first=page is None, is_cut_off=is_cut_off)


def _webp(stream: BinaryIO) -> Readable:
    view = endings.webp_view(stream) or stream
    return Readable(stream=view, is_cut_off=partial(endings.is_webp_cut_off, view))


def _png(stream: BinaryIO, name: str) -> Readable:
    parts = png.find_needed_chunks(stream, name)
    return Readable(
        stream=png.png_view(stream, parts.chunks),
        info={} if parts.profile is None else {"icc_profile": parts.profile},
        is_first=not parts.is_other,
        mend=partial(_mend_png, stream, parts),
        is_cut_off=lambda: parts.is_cut_off,
        lacks_pixels=lambda: not parts.is_other and png.lacks_pixels(stream, parts),
    )


def _mend_png(stream: BinaryIO, parts: png.PngParts, fingerprint: Fingerprint) -> BinaryIO | None:
    """Returns the still image if only the animation is damaged, or the pixels if only a checksum is wrong."""
    if parts.still != parts.chunks:
        still = png.png_view(stream, parts.still)
        if fingerprint(still) is not None:
            return still
    return png.whole_view(stream, parts)


def _complete_jpeg(stream: BinaryIO, fingerprint: Fingerprint) -> BinaryIO | None:
    return _complete(stream, jpeg.fillers(stream), fingerprint) if jpeg.has_all_scans(stream) else None


_GIF_ENDS = (bytes(256) + b";", b"\xff" * 256 + bytes(256) + b";")


def _complete(stream: BinaryIO, ends: tuple[bytes, ...], fingerprint: Fingerprint) -> BinaryIO | None:
    """Returns the file with the first of these ends, if the image is the same with each; else None."""
    views = [view_of(stream, [whole(stream), end]) for end in ends]
    expected = fingerprint(views[0])
    if expected is None or any(fingerprint(view) != expected for view in views[1:]):
        return None
    return views[0]
