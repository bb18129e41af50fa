"""Files become pixels: which files count as images, and how one becomes `uint8 [224, 224, 3]`.

How an image is brought to 224 x 224 was chosen by measurement; see docs/adr/0004-preprocessing.md. How much
memory that may take: docs/adr/0006-memory-of-decoding.md.
"""

import ctypes
import gc
import hashlib
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from io import SEEK_END
from threading import Lock
from traceback import clear_frames
from types import ModuleType
from typing import TYPE_CHECKING, BinaryIO, TypeAlias, TypeGuard, TypeVar, cast

import numpy as np

from lookalike_core.arrays import IMAGE_SIZE, Pixels
from lookalike_core.errors import ImageError, MissingDecoderError, SkipReason
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.images import whole_image as whole_images
from lookalike_core.images.containers import Readable, readable
from lookalike_core.images.formats import HEAD_BYTES, is_avif, is_heif, is_webp, unidentified, unread_kind
from lookalike_core.images.frames import frame_bytes, frame_that_shows, mark_choice, may_move
from lookalike_core.images.jpeg import MAX_SCANS, count_scans
from lookalike_core.images.memory_budget import BYTES_A_PIXEL, Budget, decoding_bytes
from lookalike_core.images.open_image import IN_MEMORY_BYTES
from lookalike_core.images.rendering import Rendering, is_as_before, render
from lookalike_core.images.samples import check_samples, mend_header, unsupported
from lookalike_core.images.tiff_layout import mend_layout
from lookalike_core.images.unlimited import crop, open_heif, open_image
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
"""Names that count as images, in any case: all that are registered for what `FORMATS` and HEIC hold."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "DIB", "AVIF")
"""Decoders that may see a file, whatever its name says. MPO, which some cameras write, is JPEG's."""

MAX_PIXELS = 210_000_000
"""Width times height above which an image is not decoded; the largest phones' images have 201 million."""

MAX_WHOLE_FILE_BYTES = 100 * 2**20
"""The size of a WebP, AVIF or HEIC file above which it is not decoded: their decoders want it in memory."""

REDUCED_SIDE = 4 * IMAGE_SIZE
"""JPEGs are decoded at a half, a quarter or an eighth of their size where this much of both sides is left."""

PREPARATION = "crop-bicubic-224-srgb"
"""Named in the preprocessing id: two ways of preparing images are two spaces."""

FORMER_PREPARATION = "crop-bicubic-224"
"""Of versions that took every file for sRGB; most images give the same pixels (`decodes_as_before`)."""

WHOLE_PIXELS = 4_000_000
"""Size of an image up to which a copy or two of it do no harm."""

LARGE_BYTES = 64 * 2**20
"""What an image takes that is given back to the system at once."""

DECODING = Budget(BYTES_A_PIXEL * MAX_PIXELS)
"""What all threads together may take for decoding."""

OpenImage: TypeAlias = "Image.Image"
"""An image that somebody has open in Pillow, for those who do not import it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedImage:
    """A decoded image: `pixels` is uint8 `[224, 224, 3]` RGB; `width` and `height` are as shown."""

    pixels: Pixels
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BandSizes:
    """From how many pixels on an image is made RGB in bands, and how many a band has."""

    whole_pixels: int = WHOLE_PIXELS
    band_pixels: int = 2_000_000


BAND_SIZES = BandSizes()


def decode(
    stream: BinaryIO, name: str, *, max_pixels: int = MAX_PIXELS, bands: BandSizes = BAND_SIZES
) -> DecodedImage:
    """Decodes an image as a colour-managed viewer shows it: upright, in sRGB, first frame, on a ground.

    `stream` is read from its beginning and can be sought in.

    Raises:
        ImageError: it is no image that can be shown, or too large; `name` stands in the message.
    """
    return _guarded(stream, name, max_pixels, REDUCED_SIDE, partial(_decoded, bands=bands))


def prepare_image(image: "Image.Image", name: str, *, max_pixels: int = MAX_PIXELS) -> DecodedImage:
    """Prepares an image that somebody has open in Pillow, in its present frame, as `decode` does a file's.

    It is loaded if it was not, and else left as it is. A JPEG is taken at its full size, where `decode` may
    take it at a part of that, which is faster and may differ in the last level of a channel.

    Raises:
        ImageError: it has no pixels or too many, or cannot be loaded; `name` stands in the message.
    """
    if 0 in image.size:
        raise ImageError(f"{name} has no pixels", reason=SkipReason.EMPTY)
    _check_pixels(name, image.size, max_pixels)
    with _reasons(b"", name):
        return _decoded(image.copy(), image.size, image.size)


def prepare_pixels(pixels: Pixels, name: str, *, max_pixels: int = MAX_PIXELS) -> DecodedImage:
    """Prepares an image of sRGB values, uint8 `[H, W, 3]`, as `decode` does a file's.

    Raises:
        ImageError: as `prepare_image`.
    """
    if 0 in pixels.shape:
        raise ImageError(f"{name} has no pixels", reason=SkipReason.EMPTY)
    return prepare_image(_pillow().fromarray(pixels), name, max_pixels=max_pixels)


def is_open_image(given: object) -> "TypeGuard[Image.Image]":
    """Whether it is an image that somebody has open in Pillow, which is not imported to find out."""
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(given, pillow.Image)


def decode_small(
    stream: BinaryIO,
    name: str,
    *,
    edge: int,
    max_pixels: int = MAX_PIXELS,
    whole_pixels: int = WHOLE_PIXELS,
) -> "Image.Image":
    """The whole image as a person sees it, RGB, its longer side `edge` pixels, or less if it has less.

    `stream` is read from its beginning and can be sought in.

    Raises:
        ImageError: as `decode`.
    """

    def small(image: "Image.Image", full: tuple[int, int], _: Extent) -> "Image.Image":
        return _upright_small(image, full, edge, whole_pixels)

    return _guarded(stream, name, max_pixels, 2 * edge, small)


def decodes_as_before(stream: BinaryIO, name: str, *, max_pixels: int = MAX_PIXELS) -> bool:
    """Whether `decode` gives the pixels that it gave under `FORMER_PREPARATION`; in doubt it does not.

    The header tells; pixels are decoded where some may be transparent.
    """

    def judge(image: "Image.Image", _full: tuple[int, int], _extent: Extent) -> bool:
        return is_as_before(image)

    try:
        return _guarded(stream, name, max_pixels, REDUCED_SIDE, judge)
    except ImageError:
        return False


def decode_whole(stream: BinaryIO, name: str, *, edge: int, max_pixels: int = MAX_PIXELS) -> WholeImage:
    """As `decode_small`, with what else has to agree before one file may stand for another.

    Raises:
        ImageError: as `decode`.
    """

    def whole(image: "Image.Image", full: tuple[int, int], _: Extent) -> WholeImage:
        besides, is_deep = whole_images.besides(image, stream), whole_images.is_deep(image)
        small, turn = _upright_small(image, full, edge, WHOLE_PIXELS), _turn(image)
        width, height = reversed(full) if turn in _ON_ITS_SIDE else full
        return WholeImage(
            pixels=np.asarray(small),
            alpha=whole_images.alpha(image, small.size, turn),
            width=width,
            height=height,
            besides=besides,
            is_deep=is_deep,
        )

    return _guarded(stream, name, max_pixels, 2 * edge, whole)


Extent = tuple[float, float]
T = TypeVar("T")
Make = Callable[["Image.Image", tuple[int, int], Extent], T]
"""Makes something of an open image that is stored as so many pixels and decoded to such an extent."""


def _guarded(stream: BinaryIO, name: str, max_pixels: int, side: int, make: Make[T]) -> T:
    """What is made of a file; JPEGs are decoded at a part of their size where `side` is left of both.

    Where Pillow gives a file up, it is given once more what can be mended of it.
    """
    size = stream.seek(0, SEEK_END)
    stream.seek(0)
    head = stream.read(HEAD_BYTES)
    if not head:
        raise ImageError(f"{name} is empty", reason=SkipReason.EMPTY)
    if len(head) < _SMALLEST_MAGIC and not any(magic.startswith(head) for magic in _MAGICS):
        raise ImageError(f"{name} is not an image", reason=SkipReason.NOT_AN_IMAGE)
    with _reasons(head, name), _room_for_file(head, size, name):
        found = readable(stream, head, name)
        with _reasons(head, name, found.is_cut_off):
            try:
                return _opened_and_made(found, head, name, max_pixels, side, make)
            except (ImageError, MemoryError):
                raise
            except Exception as error:
                clear_frames(error.__traceback__)  # or the image stays in memory with them
                mended = found.mended(lambda view: _fingerprint(view, head, name, max_pixels))
                if mended is None:
                    raise
        found = replace(found, stream=mended, is_first=True)
        with _reasons(head, name):
            return _opened_and_made(found, head, name, max_pixels, side, make)


_SMALLEST_MAGIC = 4
"""Bytes; of fewer a format can be told only if they begin one of `_MAGICS`."""

_MAGICS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"BM", b"II", b"MM")


def _opened_and_made(found: Readable, head: bytes, name: str, max_pixels: int, side: int, make: Make[T]) -> T:
    """Takes what it needs of the budget, and gives it back when nothing here is held any more."""
    if found.extent is not None:
        _check_pixels(name, found.extent, max_pixels)
    with ExitStack() as room:
        return _made(found, head, name, max_pixels, side, make, room)


def _made(
    found: Readable, head: bytes, name: str, max_pixels: int, side: int, make: Make[T], room: ExitStack
) -> T:
    with _opened(found.stream, head, name) as image:
        full = image.size
        _check_pixels(name, full, max_pixels)
        check_samples(image, name)
        mend_layout(image)
        extent = _reduce(image, side)
        needed = _bytes_needed(image, full, found.stream, name)
        _check_pixels(name, full, max_pixels * BYTES_A_PIXEL * full[0] * full[1] // needed)
        room.enter_context(DECODING.taken(needed + _working_bytes(image) + frame_bytes(image)))
        if needed >= LARGE_BYTES:
            room.callback(_give_back)
        image.info.update(found.info)
        if may_move(image):
            mend_header(image)  # it is loaded now
        frame = frame_that_shows(image, sound=found.sound_frames)
        if frame is None:
            mark_choice(image, is_first=found.is_first)
            made = make(image, full, extent)
            _check_pixels_are_there(image, found)
            return made
    with _opened(found.stream, head, name) as image:
        first = image.tell()
        mend_header(image)  # once: frames before it are loaded on the way
        image.seek(frame)
        image.load()
        image.info.update(found.info)  # some formats begin it anew with each frame
        mark_choice(image, is_first=found.is_first and frame == first)
        return make(image, image.size, image.size)


def _check_pixels_are_there(image: "Image.Image", found: Readable) -> None:
    """Refuses a PNG that Pillow filled up with zeros: at its end, or in every second line (Adam7)."""
    if image.format == "PNG":
        last = np.asarray(crop(image, (0, max(0, image.height - 2), *image.size)))
        if not all(line.any() for line in last) and found.lacks_pixels():
            raise EOFError("there are fewer pixels than its header says")


def _fingerprint(view: BinaryIO, head: bytes, name: str, max_pixels: int) -> bytes | None:
    """Tells the images of mended files apart, at their full size; None where one cannot be decoded."""
    with suppress(Exception):
        return _opened_and_made(Readable(stream=view), head, name, max_pixels, max_pixels, _digest)
    return None


def _digest(image: "Image.Image", _full: tuple[int, int], _extent: Extent) -> bytes:
    """Over all pixels, a strip at a time."""
    image.load()
    digest = hashlib.blake2b(digest_size=16)
    for top in range(0, image.height, _STRIP_LINES):
        strip = crop(image, (0, top, image.width, min(top + _STRIP_LINES, image.height)))
        digest.update(strip.tobytes())
    return digest.digest()


_STRIP_LINES = 64


def _opened(stream: BinaryIO, head: bytes, name: str) -> "Image.Image":
    """The open image, of which only the header was read.

    Raises:
        ImageError: its header is whole, and no decoder here takes such samples.
    """
    from PIL import UnidentifiedImageError

    try:
        return open_heif(stream) if _is_heif(head, name) else open_image(stream, FORMATS)
    except UnidentifiedImageError:
        if (what := unsupported(stream, head)) is None:
            raise
        raise ImageError(
            f"{name} is {what}, which no decoder here reads; convert it to PNG",
            reason=SkipReason.UNSUPPORTED_FORMAT,
        ) from None


def _give_back() -> None:
    """Returns to the system what a large image took, or the C library keeps it, for each thread anew."""
    gc.collect()  # decoders hang in cycles of references
    with suppress(OSError, AttributeError, TypeError):  # glibc alone has it, and alone needs it
        ctypes.CDLL(None).malloc_trim(0)


def _is_heif(head: bytes, name: str) -> bool:
    """Whether it is HEIC, and what reads that is here.

    Raises:
        MissingDecoderError: it is HEIC or AVIF, and what reads that is not installed.
    """
    if is_heif(head):
        with _ONE_LOADER:  # threads that load a library at once may see it half loaded
            is_read = _heif_is_read()
        if not is_read:
            raise MissingDecoderError(f"{name} is HEIC", needed="this project's extra lookalike[heif]")
        return True
    if is_avif(head) and not _avif_is_read():
        raise MissingDecoderError(f"{name} is AVIF", needed="a Pillow that was built with AVIF")
    return False


_ONE_LOADER = Lock()


@cache
def _heif_is_read() -> bool:
    """Whether the extra is there, and loads."""
    try:
        import pillow_heif  # noqa: F401 - `open_heif` uses it
    except ImportError:
        return False
    return True


@cache
def _avif_is_read() -> bool:
    from PIL import features

    return bool(features.check("avif"))


@contextmanager
def _room_for_file(head: bytes, size: int, name: str) -> Iterator[None]:
    """Some decoders want the whole file in memory before they say how large the image is."""
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


def _reduce(image: "Image.Image", side: int) -> Extent:
    """Has a large JPEG decoded at a part of its size; what remains of width and height, to the fraction."""
    if image.format in _JPEGS:
        drafted = image.draft(None, (side, side))
        if drafted:
            _, (_, _, width, height) = drafted
            return width, height
    return image.size


def _bytes_needed(image: "Image.Image", full: tuple[int, int], stream: BinaryIO, name: str) -> int:
    """What decoding will take.

    Raises:
        ImageError: it is a JPEG of so many scans that only an attacker can have made it.
    """
    scans = count_scans(stream) if image.format in _JPEGS else 1
    if scans > MAX_SCANS:
        raise ImageError(
            f"{name} has more than {MAX_SCANS} scans; save it anew", reason=SkipReason.UNSUPPORTED_FORMAT
        )
    file_bytes = stream.seek(0, SEEK_END) if image.format == "TIFF" else 0
    return decoding_bytes(image, full_pixels=full[0] * full[1], scans=scans, file_bytes=file_bytes)


_JPEGS = ("JPEG", "MPO")


def _working_bytes(image: "Image.Image") -> int:
    """What turning an image and making it RGB takes besides: at most four of it, or of a part of it."""
    return 4 * BYTES_A_PIXEL * min(image.width * image.height, WHOLE_PIXELS)


def _decoded(
    image: "Image.Image", full: tuple[int, int], extent: Extent, bands: BandSizes = BAND_SIZES
) -> DecodedImage:
    """The image of an open file that is stored as `full` and decoded as `extent` pixels."""
    image, rendering = render(image)
    turn = _turn(image)
    square = _upright_square(image, rendering, extent, turn, bands)
    width, height = reversed(full) if turn in _ON_ITS_SIDE else full
    return DecodedImage(pixels=np.asarray(square, dtype=np.uint8), width=width, height=height)


def _upright_square(
    image: "Image.Image", rendering: Rendering, extent: Extent, turn: str | None, bands: BandSizes
) -> "Image.Image":
    """Turned and then scaled; a large image the other way round, which may round to the next value."""
    if turn is None:
        return prepare(image, rendering, extent, bands)
    way = _pillow().Transpose[turn]
    is_whole = extent[0] == image.width and extent[1] == image.height
    if is_whole and image.width * image.height <= bands.whole_pixels:
        whole = image.transpose(way)
        return prepare(whole, rendering, whole.size, bands)
    return prepare(image, rendering, extent, bands).transpose(way)


def _upright_small(
    image: "Image.Image", full: tuple[int, int], edge: int, whole_pixels: int
) -> "Image.Image":
    """All of the image in a square of `edge` pixels; never larger than its file has it."""
    image, rendering = render(image)
    turn = _turn(image)
    scale = min(1.0, edge / max(full))
    sides = [max(1, round(scale * side)) for side in full]
    if not rendering.is_plain:  # no second image of its size, whatever its mode
        coarse = min(1.0, math.sqrt(whole_pixels / (image.width * image.height)))
        if coarse < 1:
            near = max(1, int(coarse * image.width)), max(1, int(coarse * image.height))
            image = image.resize(near, _pillow().Resampling.NEAREST)
        image = rendering.rgb(image)
    small = image.resize(sides, _pillow().Resampling.BICUBIC)
    if rendering.is_plain:
        small = rendering.finish(small)
    return small if turn is None else small.transpose(_pillow().Transpose[turn])


def prepare(image: "Image.Image", rendering: Rendering, extent: Extent, bands: BandSizes) -> "Image.Image":
    """RGB: the shorter side scaled to the network's square, the centre cut out.

    What is plain is scaled as it is. All else is rendered first; where it is large in bands, which may round
    to another value, so that there is never a second image of its size.
    """
    side = min(extent)
    left, top = (extent[0] - side) / 2, (extent[1] - side) / 2
    box = (left, top, left + side, top + side)
    if rendering.is_plain:
        return rendering.finish(_scaled(image, box, IMAGE_SIZE))
    if image.width * image.height <= bands.whole_pixels:
        return _scaled(rendering.rgb(image), box, IMAGE_SIZE)
    square = _pillow().new("RGB", (IMAGE_SIZE, IMAGE_SIZE))
    lines = _lines_a_band(side, bands.band_pixels)
    for first in range(0, IMAGE_SIZE, lines):
        last = min(first + lines, IMAGE_SIZE)
        box = (left, top + side * first / IMAGE_SIZE, left + side, top + side * last / IMAGE_SIZE)
        square.paste(_band(image, rendering, box, last - first), (0, first))
    return cast("Image.Image", square)


_MIN_LINES = 4

Box = tuple[float, float, float, float]


def _lines_a_band(side: float, band_pixels: int) -> int:
    """How many of the square's lines are made at once; all of them for images of ordinary size."""
    rows = band_pixels / side - 2 * _reach(side)
    return min(IMAGE_SIZE, max(_MIN_LINES, int(rows * IMAGE_SIZE / side)))


def _reach(side: float) -> float:
    """How far from a pixel the bicubic filter looks: two of the target's pixels, and one for rounding."""
    return 2 * max(1.0, side / IMAGE_SIZE) + 1


def _band(image: "Image.Image", rendering: Rendering, box: Box, lines: int) -> "Image.Image":
    """`box` of the image as RGB `[lines, 224]`, with what the filter sees of its surroundings."""
    reach = _reach(box[2] - box[0])
    left, top = max(0, math.floor(box[0] - reach)), max(0, math.floor(box[1] - reach))
    right, bottom = math.ceil(box[2] + reach), math.ceil(box[3] + reach)
    part = crop(image, (left, top, min(right, image.width), min(bottom, image.height)))
    moved = (box[0] - left, box[1] - top, box[2] - left, box[3] - top)
    return _scaled(rendering.rgb(part), moved, lines)


def _scaled(image: "Image.Image", box: Box, lines: int) -> "Image.Image":
    return image.resize((IMAGE_SIZE, lines), _pillow().Resampling.BICUBIC, box=box)


def _turn(image: "Image.Image") -> str | None:
    """What sets the image upright, by its EXIF; metadata too broken to be read says nothing.

    Pillow's own `exif_transpose` writes the other metadata anew, too, and fails where that is broken.
    """
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION))
    except Exception:  # noqa: BLE001 - a dozen kinds, by what is broken
        return None


_ORIENTATION = 0x0112
_TURNS: dict[object, str] = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
"""EXIF's orientation -> what undoes it (CIPA DC-008, Orientation)."""

_ON_ITS_SIDE = ("TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90")


def _pillow() -> ModuleType:
    """Pillow's Image module, which is imported where it is used."""
    from PIL import Image

    return Image


@contextmanager
def _reasons(head: bytes, name: str, is_cut_off: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Translates whatever Pillow raises into one reason out of the closed set."""
    from PIL import Image, UnidentifiedImageError

    try:
        yield
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError(f"{name} does not fit into memory", reason=SkipReason.TOO_LARGE) from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{name} is larger than this process allows Pillow (PIL.Image.MAX_IMAGE_PIXELS): {error}",
            reason=SkipReason.TOO_LARGE,
        ) from error
    except UnidentifiedImageError as error:
        raise unidentified(head, name, is_cut_off=is_cut_off()) from error
    except Exception as error:
        if (what := unread_kind(error)) is not None:
            raise ImageError(
                f"{name} is {what}, which no decoder here reads; convert it to PNG",
                reason=SkipReason.UNSUPPORTED_FORMAT,
            ) from error
        if is_cut_off() or _says_cut_off(error):
            raise ImageError(
                f"{name} ends before its image does ({error})", reason=SkipReason.TRUNCATED
            ) from error
        raise ImageError(f"{name} is damaged: {error}", reason=SkipReason.UNREADABLE) from error


_CUT_OFF = ("truncated", "unexpected end", "not enough", "premature")


def _says_cut_off(error: Exception) -> bool:
    return isinstance(error, EOFError) or any(word in str(error).lower() for word in _CUT_OFF)
