"""Decoding of files into pixels: opened, checked by their header, decoded within a memory budget.

The budget: docs/adr/0006-memory-of-decoding.md.
"""

import ctypes
import gc
import hashlib
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from io import SEEK_END
from threading import Lock
from traceback import clear_frames
from typing import TYPE_CHECKING, BinaryIO, TypeAlias, TypeGuard, TypeVar

import numpy as np

from lookalike_core.arrays import IMAGE_SIZE, Pixels
from lookalike_core.errors import ImageError, SkipReason
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.images import whole_image as whole_images
from lookalike_core.images.containers import Readable, readable
from lookalike_core.images.decoders import open_header
from lookalike_core.images.formats import HEAD_BYTES, is_avif, is_heif, is_webp
from lookalike_core.images.frames import find_frame, frame_bytes, mark_choice, may_be_animated
from lookalike_core.images.image_errors import translate_errors
from lookalike_core.images.jpeg import MAX_SCANS, count_scans
from lookalike_core.images.memory_budget import BYTES_A_PIXEL, Budget, decoding_bytes
from lookalike_core.images.open_image import IN_MEMORY_BYTES
from lookalike_core.images.preparation import (
    BAND_SIZES,
    WHOLE_PIXELS,
    BandSizes,
    Extent,
    FindBox,
    find_turn,
    find_window,
    prepare_small,
    prepare_square,
    shown_size,
    whole_box,
)
from lookalike_core.images.region import Box, Part, Region
from lookalike_core.images.rendering import is_as_before
from lookalike_core.images.samples import check_samples, mend_header
from lookalike_core.images.tiff_layout import mend_layout
from lookalike_core.images.unlimited import crop
from lookalike_core.images.whole_image import WholeImage

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif", ".pjpeg", ".pjp", ".mpo"),
        *(".png", ".apng", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".dib"),
        *(".avif", ".avifs", ".heic", ".heics", ".heif", ".heifs", ".hif"),
    }
)
"""File suffixes that count as images, in any case: those registered for `decoders.FORMATS`, and HEIC's."""

MAX_PIXELS = 210_000_000
"""Width times height above which an image is not decoded; the largest phones' images have 201 million."""

MAX_WHOLE_FILE_BYTES = 100 * 2**20
"""The size above which a WebP, AVIF or HEIC file is not decoded: their decoders load the whole file."""

REDUCED_SIDE = 4 * IMAGE_SIZE
"""JPEGs are decoded at 1/2, 1/4 or 1/8 of their size if both sides then still have this many pixels."""

LARGE_BYTES = 64 * 2**20
"""The size of a decoded image above which its memory is returned to the system immediately."""

DECODING = Budget(BYTES_A_PIXEL * MAX_PIXELS)
"""The memory budget that all decoding threads share."""

OpenImage: TypeAlias = "Image.Image"
"""A Pillow image that the caller has opened; a type for modules that do not import Pillow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedImage:
    """A decoded image: `pixels` is uint8 `[224, 224, 3]` RGB; `width` and `height` are upright.

    `box` is the part of it that the pixels show.
    """

    pixels: Pixels
    width: int
    height: int
    box: Box

    @property
    def part(self) -> Part:
        """The part of the image that the pixels show."""
        return Part(box=self.box, width=self.width, height=self.height)


def decode(
    stream: BinaryIO,
    name: str,
    *,
    max_pixels: int = MAX_PIXELS,
    bands: BandSizes = BAND_SIZES,
    region: Region | None = None,
) -> DecodedImage:
    """Decodes an image as a colour-managed viewer shows it: upright, sRGB, first frame, opaque.

    `stream` must be seekable, and is read from its beginning. Of a `region` the pixels show that part alone.

    Raises:
        ImageError: it is no supported image, or too large, or the region reaches beyond it; the message names
            `name`.
    """
    find_box = _box_finder(region, name)
    sides = _same_sides(REDUCED_SIDE) if region is None else _sides_for(find_box, REDUCED_SIDE)
    return _process(
        stream, name, max_pixels, sides, partial(_prepare_decoded, bands=bands, find_box=find_box)
    )


def prepare_image(
    image: "Image.Image", name: str, *, max_pixels: int = MAX_PIXELS, region: Region | None = None
) -> DecodedImage:
    """Prepares the current frame of an open Pillow image as `decode` does a file's.

    The image is loaded if necessary, and otherwise not changed. A JPEG is scaled from its full size, whereas
    `decode` may decode it at a fraction of that, which is faster and may differ in the last level of a
    channel.

    Raises:
        ImageError: it has no pixels or too many, or cannot be loaded; the message names `name`.
    """
    if 0 in image.size:
        raise ImageError(f"{name} has no pixels", reason=SkipReason.EMPTY)
    _check_pixels(name, image.size, max_pixels)
    with translate_errors(b"", name):
        return _prepare_decoded(image.copy(), image.size, image.size, find_box=_box_finder(region, name))


def prepare_pixels(
    pixels: Pixels, name: str, *, max_pixels: int = MAX_PIXELS, region: Region | None = None
) -> DecodedImage:
    """Prepares an image of sRGB values, uint8 `[H, W, 3]`, as `decode` does a file's.

    Raises:
        ImageError: see `prepare_image`.
    """
    if 0 in pixels.shape:
        raise ImageError(f"{name} has no pixels", reason=SkipReason.EMPTY)
    from PIL import Image

    return prepare_image(Image.fromarray(pixels), name, max_pixels=max_pixels, region=region)


def is_open_image(given: object) -> "TypeGuard[Image.Image]":
    """Returns whether an object is a Pillow image, without importing Pillow."""
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(given, pillow.Image)


def decode_small(
    stream: BinaryIO,
    name: str,
    *,
    edge: int,
    max_pixels: int = MAX_PIXELS,
    whole_pixels: int = WHOLE_PIXELS,
    region: Region | None = None,
) -> "Image.Image":
    """Decodes the whole image, uncropped, as a viewer shows it: RGB, its longer side at most `edge` pixels.

    `stream` must be seekable, and is read from its beginning. Of a `region` that part alone is returned.

    Raises:
        ImageError: see `decode`.
    """
    find_box = _box_finder(region, name)
    sides = _same_sides(2 * edge) if region is None else _sides_for(find_box, 2 * edge)

    def small(image: "Image.Image", full: tuple[int, int], _: Extent) -> "Image.Image":
        return prepare_small(image, full, edge, whole_pixels, find_box)

    return _process(stream, name, max_pixels, sides, small)


def decodes_as_before(stream: BinaryIO, name: str, *, max_pixels: int = MAX_PIXELS) -> bool:
    """Returns whether `decode` gives the same pixels as under `FORMER_PREPARATION`; False if unsure.

    The header decides; pixels are decoded only if some may be transparent.
    """

    def judge(image: "Image.Image", _full: tuple[int, int], _extent: Extent) -> bool:
        return is_as_before(image)

    try:
        return _process(stream, name, max_pixels, _same_sides(REDUCED_SIDE), judge)
    except ImageError:
        return False


def decode_whole(stream: BinaryIO, name: str, *, edge: int, max_pixels: int = MAX_PIXELS) -> WholeImage:
    """Decodes as `decode_small`, with all else that must be equal before a file counts as another's copy.

    Raises:
        ImageError: as `decode`.
    """

    def whole(image: "Image.Image", full: tuple[int, int], _: Extent) -> WholeImage:
        besides, is_deep = whole_images.besides(image, stream), whole_images.is_deep(image)
        small, turn = prepare_small(image, full, edge), find_turn(image)
        width, height = shown_size(full, turn)
        return WholeImage(
            pixels=np.asarray(small),
            alpha=whole_images.alpha(image, small.size, turn),
            width=width,
            height=height,
            besides=besides,
            is_deep=is_deep,
        )

    return _process(stream, name, max_pixels, _same_sides(2 * edge), whole)


T = TypeVar("T")
Make = Callable[["Image.Image", tuple[int, int], Extent], T]
"""Computes a result from an open image, given its stored size in pixels and its decoded extent."""


Sides = Callable[["Image.Image"], tuple[int, int]]
"""Returns the least width and height that an opened JPEG may be decoded at."""


def _same_sides(side: int) -> Sides:
    return lambda _: (side, side)


def _sides_for(find_box: FindBox, side: int) -> Sides:
    """Returns sides of an image with which a part of it has at least `side` pixels a side."""

    def sides(image: "Image.Image") -> tuple[int, int]:
        turn = find_turn(image)
        left, top, right, bottom = find_window(
            find_box(shown_size(image.size, turn)), image.size, image.size, turn
        )
        width, height = image.size
        return (
            math.ceil(side * width / (right - left)),
            math.ceil(side * height / (bottom - top)),
        )

    return sides


def _box_finder(region: Region | None, name: str) -> FindBox:
    return whole_box if region is None else partial(region.locate, name=name)


def _process(stream: BinaryIO, name: str, max_pixels: int, sides: Sides, make: Make[T]) -> T:
    """Applies `make` to a file's image; a JPEG is decoded at a fraction that leaves it these `sides`.

    If Pillow fails, repaired versions of the file are tried.
    """
    size = stream.seek(0, SEEK_END)
    stream.seek(0)
    head = stream.read(HEAD_BYTES)
    if not head:
        raise ImageError(f"{name} is empty", reason=SkipReason.EMPTY)
    if len(head) < _SMALLEST_MAGIC and not any(magic.startswith(head) for magic in _MAGICS):
        raise ImageError(f"{name} is not an image", reason=SkipReason.NOT_AN_IMAGE)
    with translate_errors(head, name), _hold_large_file(head, size, name):
        found = readable(stream, head, name)
        with translate_errors(head, name, found.is_cut_off):
            try:
                return _open_and_make(found, head, name, max_pixels, sides, make)
            except (ImageError, MemoryError):
                raise
            except Exception as error:
                clear_frames(error.__traceback__)  # or the image stays in memory with them
                mended = found.mend(lambda view: _fingerprint(view, head, name, max_pixels))
                if mended is None:
                    raise
        found = replace(found, stream=mended, is_first=True)
        with translate_errors(head, name):
            return _open_and_make(found, head, name, max_pixels, sides, make)


_SMALLEST_MAGIC = 4
"""The least number of bytes that identify a format; shorter files must be the beginning of one of `_MAGICS`.
"""

_MAGICS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"BM", b"II", b"MM")


def _open_and_make(
    found: Readable, head: bytes, name: str, max_pixels: int, sides: Sides, make: Make[T]
) -> T:
    """Opens an image within the memory budget and applies `make`; the budget is released afterwards."""
    if found.extent is not None:
        _check_pixels(name, found.extent, max_pixels)
    with ExitStack() as room:
        return _make_within(found, head, name, max_pixels, sides, make, room)


def _make_within(
    found: Readable, head: bytes, name: str, max_pixels: int, sides: Sides, make: Make[T], room: ExitStack
) -> T:
    with open_header(found.stream, head, name) as image:
        full = image.size
        _check_pixels(name, full, max_pixels)
        check_samples(image, name)
        mend_layout(image)
        extent = _draft(image, sides)
        needed = _bytes_needed(image, full, found.stream, name)
        _check_pixels(name, full, max_pixels * BYTES_A_PIXEL * full[0] * full[1] // needed)
        room.enter_context(DECODING.reserve(needed + _working_bytes(image) + frame_bytes(image)))
        if needed >= LARGE_BYTES:
            room.callback(_return_memory)
        image.info.update(found.info)
        if may_be_animated(image):
            mend_header(image)  # it is loaded now
        frame = find_frame(image, sound=found.sound_frames)
        if frame is None:
            mark_choice(image, is_first=found.is_first)
            made = make(image, full, extent)
            _check_pixels_are_there(image, found)
            return made
    with open_header(found.stream, head, name) as image:
        first = image.tell()
        mend_header(image)  # once: frames before it are loaded on the way
        image.seek(frame)
        image.load()
        image.info.update(found.info)  # some formats reset it with each frame
        mark_choice(image, is_first=found.is_first and frame == first)
        return make(image, image.size, image.size)


def _check_pixels_are_there(image: "Image.Image", found: Readable) -> None:
    """Refuses a PNG that Pillow filled up with zeros: at its end, or in every second line (Adam7)."""
    if image.format == "PNG":
        last = np.asarray(crop(image, (0, max(0, image.height - 2), *image.size)))
        if not all(line.any() for line in last) and found.lacks_pixels():
            raise EOFError("there are fewer pixels than its header says")


def _fingerprint(view: BinaryIO, head: bytes, name: str, max_pixels: int) -> bytes | None:
    """Returns a hash of a mended file's image at its full size; None if it cannot be decoded."""
    with suppress(Exception):
        return _open_and_make(Readable(stream=view), head, name, max_pixels, _same_sides(max_pixels), _digest)
    return None


def _digest(image: "Image.Image", _full: tuple[int, int], _extent: Extent) -> bytes:
    """Returns a hash over all pixels, computed strip by strip."""
    image.load()
    digest = hashlib.blake2b(digest_size=16)
    for top in range(0, image.height, _STRIP_LINES):
        strip = crop(image, (0, top, image.width, min(top + _STRIP_LINES, image.height)))
        digest.update(strip.tobytes())
    return digest.digest()


_STRIP_LINES = 64


def _return_memory() -> None:
    """Returns a large image's memory to the system, which the C library would otherwise keep per thread."""
    gc.collect()  # decoders hang in cycles of references
    with suppress(OSError, AttributeError, TypeError):  # glibc alone has it, and alone needs it
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def _hold_large_file(head: bytes, size: int, name: str) -> Iterator[None]:
    """Reserves budget for large files whose decoders load all of them before they report the image's size."""
    whole = is_webp(head) or is_avif(head) or is_heif(head)
    if whole and size > MAX_WHOLE_FILE_BYTES:
        raise ImageError(
            f"{name} is larger than {MAX_WHOLE_FILE_BYTES // 2**20} MiB, the limit for its format",
            reason=SkipReason.TOO_LARGE,
            limit=MAX_WHOLE_FILE_BYTES,
        )
    with _ONE_LARGE_FILE if whole and size > IN_MEMORY_BYTES else nullcontext():
        yield


_ONE_LARGE_FILE = Lock()


def _check_pixels(name: str, size: tuple[int, int], limit: int) -> None:
    width, height = size
    if width * height > limit:
        raise ImageError(
            f"{name} has {width} x {height} pixels; the limit for a file of its kind is {limit:,}",
            reason=SkipReason.TOO_LARGE,
            limit=limit,
            hint=Hint(Action.RAISE_LIMIT, {Argument.MAX_PIXELS: None}),
        )


def _draft(image: "Image.Image", sides: Sides) -> Extent:
    """Sets a large JPEG to be decoded at a fraction of its size; returns its exact width and height then."""
    if image.format in _JPEGS:
        drafted = image.draft(None, sides(image))
        if drafted:
            _, (_, _, width, height) = drafted
            return width, height
    return image.size


def _bytes_needed(image: "Image.Image", full: tuple[int, int], stream: BinaryIO, name: str) -> int:
    """Returns how many bytes decoding takes.

    Raises:
        ImageError: it is a JPEG of so many scans that it must be an attack.
    """
    scans = count_scans(stream) if image.format in _JPEGS else 1
    if scans > MAX_SCANS:
        raise ImageError(
            f"{name} has more than {MAX_SCANS} scans; save it again", reason=SkipReason.UNSUPPORTED_FORMAT
        )
    file_bytes = stream.seek(0, SEEK_END) if image.format == "TIFF" else 0
    return decoding_bytes(image, full_pixels=full[0] * full[1], scans=scans, file_bytes=file_bytes)


_JPEGS = ("JPEG", "MPO")


def _working_bytes(image: "Image.Image") -> int:
    """Returns the further bytes that transposing and converting to RGB take: at most four images."""
    return 4 * BYTES_A_PIXEL * min(image.width * image.height, WHOLE_PIXELS)


def _prepare_decoded(
    image: "Image.Image",
    full: tuple[int, int],
    extent: Extent,
    bands: BandSizes = BAND_SIZES,
    find_box: FindBox = whole_box,
) -> DecodedImage:
    square, size = prepare_square(image, full, extent, bands, find_box)
    width, height = size
    return DecodedImage(
        pixels=np.asarray(square, dtype=np.uint8), width=width, height=height, box=find_box(size)
    )
