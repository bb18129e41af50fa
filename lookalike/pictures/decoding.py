"""Files become pixels: which files count as pictures, and how one becomes `uint8 [224, 224, 3]`.

How a picture is brought to 224 x 224 was chosen by measurement; see docs/adr/0004-preprocessing.md. How much
memory that may take: docs/adr/0006-memory-of-decoding.md.
"""

import ctypes
import gc
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cache
from io import SEEK_END
from threading import Lock
from types import ModuleType
from typing import TYPE_CHECKING, BinaryIO, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from lookalike.backbones import IMAGE_SIZE, Backbone
from lookalike.errors import MissingDecoderError, PictureError, SkipReason
from lookalike.pictures import whole as whole_images
from lookalike.pictures.costs import BYTES_A_PIXEL, MAX_SCANS, Budget, count_scans, decoding_bytes
from lookalike.pictures.files import IN_MEMORY_BYTES
from lookalike.pictures.formats import HEAD_BYTES, is_avif, is_heif, is_webp, unidentified
from lookalike.pictures.whole import WholeImage

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".avif", ".heic", ".heif"}
)
"""Names that count as pictures, in any case."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF")
"""Decoders that may see a file, whatever its name says. MPO, which some cameras write, is JPEG's."""

MAX_PIXELS = 210_000_000
"""Width times height above which a picture is not decoded; the largest phones' pictures have 201 million."""

MAX_WHOLE_FILE_BYTES = 100 * 2**20
"""The size of a WebP, AVIF or HEIC file above which it is not decoded: their decoders want it in memory."""

REDUCED_SIDE = 4 * IMAGE_SIZE
"""JPEGs are decoded at a half, a quarter or an eighth of their size where this much of both sides is left."""

PREPARATION = "crop-bicubic-224"
"""Named in the preprocessing id: two ways of preparing pictures are two spaces."""

LARGE_BYTES = 64 * 2**20
"""What a picture takes that is given back to the system at once."""

DECODING = Budget(BYTES_A_PIXEL * MAX_PIXELS)
"""What all threads together may take for decoding."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A decoded picture: `pixels` is uint8 `[224, 224, 3]` RGB; `width` and `height` are as shown."""

    pixels: Pixels
    width: int
    height: int


def preprocessing_id(backbone: Backbone) -> str:
    """Names everything that happens to a picture before the first layer."""
    return f"{PREPARATION}+{backbone.normalization}"


def decode(stream: BinaryIO, name: str, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decodes a picture as a person sees it: upright, first frame, transparency on white.

    `stream` is read from its beginning and can be sought in.

    Raises:
        PictureError: it is no picture that can be shown, or too large; `name` stands in the message.
    """
    return _guarded(stream, name, max_pixels, REDUCED_SIDE, _decoded)


def decode_small(stream: BinaryIO, name: str, *, edge: int, max_pixels: int = MAX_PIXELS) -> "Image.Image":
    """The whole picture as a person sees it, RGB, its longer side `edge` pixels, or less if it has less.

    `stream` is read from its beginning and can be sought in.

    Raises:
        PictureError: as `decode`.
    """

    def small(image: "Image.Image", full: tuple[int, int], _: Extent) -> "Image.Image":
        return _upright_small(image, full, edge)

    return _guarded(stream, name, max_pixels, 2 * edge, small)


def decode_whole(stream: BinaryIO, name: str, *, edge: int, max_pixels: int = MAX_PIXELS) -> WholeImage:
    """As `decode_small`, with what else has to agree before one file may stand for another.

    Raises:
        PictureError: as `decode`.
    """

    def whole(image: "Image.Image", full: tuple[int, int], _: Extent) -> WholeImage:
        besides, is_deep = whole_images.besides(image), whole_images.is_deep(image)
        small, turn = _upright_small(image, full, edge), _turn(image)
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
"""Makes something of an open picture that is stored as so many pixels and decoded to such an extent."""


def _guarded(stream: BinaryIO, name: str, max_pixels: int, side: int, make: Make[T]) -> T:
    """What is made of a file; JPEGs are decoded at a part of their size where `side` is left of both."""
    size = stream.seek(0, SEEK_END)
    stream.seek(0)
    head = stream.read(HEAD_BYTES)
    if not head:
        raise PictureError(f"{name} is empty", reason=SkipReason.EMPTY)
    with _reasons(head, size, name), _room_for_file(head, size, name), ExitStack() as room:
        return _opened_and_made(stream, head, name, max_pixels, side, make, room)


def _opened_and_made(
    stream: BinaryIO, head: bytes, name: str, max_pixels: int, side: int, make: Make[T], room: ExitStack
) -> T:
    """Takes what it needs of the budget into `room`, to be given back when nothing here is held any more."""
    with _pillow().open(stream, formats=_formats(head, name)) as image:
        full = image.size
        _check_header(image, name, max_pixels)
        extent = _reduce(image, side)
        needed = _bytes_needed(image, full, stream, name)
        _check_pixels(name, full, max_pixels * BYTES_A_PIXEL * full[0] * full[1] // needed)
        room.enter_context(DECODING.taken(needed + _working_bytes(image)))
        if needed >= LARGE_BYTES:
            room.callback(_give_back)
        return make(image, full, extent)


def _give_back() -> None:
    """Returns to the system what a large picture took, or the C library keeps it, for each thread anew."""
    gc.collect()  # decoders hang in cycles of references
    with suppress(OSError, AttributeError, TypeError):  # glibc alone has it, and alone needs it
        ctypes.CDLL(None).malloc_trim(0)


def _formats(head: bytes, name: str) -> tuple[str, ...]:
    """The decoders that may see the file.

    Raises:
        MissingDecoderError: it is HEIC or AVIF, and what reads that is not installed.
    """
    if is_heif(head):
        with _ONE_LOADER:  # threads that load a library at once may see it half loaded
            is_read = _heif_is_read()
        if not is_read:
            raise MissingDecoderError(f"{name} is HEIC", needed="this project's extra lookalike[heif]")
        return ("HEIF",)
    if is_avif(head) and not _avif_is_read():
        raise MissingDecoderError(f"{name} is AVIF", needed="a Pillow that was built with AVIF")
    return FORMATS


_ONE_LOADER = Lock()


@cache
def _heif_is_read() -> bool:
    """Whether the extra is there; from the first picture on that needs it, Pillow reads HEIC with it."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
    return True


@cache
def _avif_is_read() -> bool:
    from PIL import features

    return bool(features.check("avif"))


@contextmanager
def _room_for_file(head: bytes, size: int, name: str) -> Iterator[None]:
    """Some decoders want the whole file in memory before they say how large the picture is."""
    whole = is_webp(head) or is_avif(head) or is_heif(head)
    if whole and size > MAX_WHOLE_FILE_BYTES:
        raise PictureError(
            f"{name} is larger than {MAX_WHOLE_FILE_BYTES // 2**20} MiB, the limit for its format",
            reason=SkipReason.TOO_LARGE,
        )
    with _ONE_LARGE_FILE if whole and size > IN_MEMORY_BYTES else nullcontext():
        yield


_ONE_LARGE_FILE = Lock()


def _check_header(image: "Image.Image", name: str, max_pixels: int) -> None:
    """Refuses by what the header says, before any pixel is decoded."""
    _check_pixels(name, image.size, max_pixels)
    if image.mode == "F":
        raise PictureError(
            f"{name} has floating-point pixels, whose range nobody knows; convert it to PNG",
            reason=SkipReason.UNSUPPORTED_FORMAT,
        )


def _check_pixels(name: str, size: tuple[int, int], limit: int) -> None:
    width, height = size
    if width * height > limit:
        raise PictureError(
            f"{name} has {width} x {height} pixels; the limit for a file of its kind is {limit:,} "
            "(--max-pixels raises it)",
            reason=SkipReason.TOO_LARGE,
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
        PictureError: it is a JPEG of so many scans that only an attacker can have made it.
    """
    scans = count_scans(stream) if image.format in _JPEGS else 1
    if scans > MAX_SCANS:
        raise PictureError(
            f"{name} has more than {MAX_SCANS} scans; save it anew", reason=SkipReason.UNSUPPORTED_FORMAT
        )
    file_bytes = stream.seek(0, SEEK_END) if image.format == "TIFF" else 0
    return decoding_bytes(image, full_pixels=full[0] * full[1], scans=scans, file_bytes=file_bytes)


_JPEGS = ("JPEG", "MPO")


def _working_bytes(image: "Image.Image") -> int:
    """What turning a picture and making it RGB takes besides: at most four of it, or of a part of it."""
    return 4 * BYTES_A_PIXEL * min(image.width * image.height, WHOLE_PIXELS)


def _decoded(image: "Image.Image", full: tuple[int, int], extent: Extent) -> Picture:
    """The picture of an open file that is stored as `full` and decoded as `extent` pixels."""
    _scale_key(image)
    image.load()
    turn = _turn(image)
    square = _upright_square(image, extent, turn)
    width, height = reversed(full) if turn in _ON_ITS_SIDE else full
    return Picture(pixels=np.asarray(square, dtype=np.uint8), width=width, height=height)


def _upright_square(image: "Image.Image", extent: Extent, turn: str | None) -> "Image.Image":
    """Turned and then scaled; a large picture the other way round, which may round to the next value."""
    if turn is None:
        return prepare(image, extent)
    way = _pillow().Transpose[turn]
    is_whole = extent[0] == image.width and extent[1] == image.height
    if is_whole and image.width * image.height <= WHOLE_PIXELS:
        whole = image.transpose(way)
        return prepare(whole, whole.size)
    return prepare(image, extent).transpose(way)


def _upright_small(image: "Image.Image", full: tuple[int, int], edge: int) -> "Image.Image":
    """All of the picture in a square of `edge` pixels; never larger than its file has it."""
    _scale_key(image)
    image.load()
    turn = _turn(image)
    scale = min(1.0, edge / max(full))
    width, height = (max(1, round(scale * side)) for side in full)
    if not _is_plain(image):  # no second picture of its size, whatever its mode
        coarse = min(1.0, math.sqrt(WHOLE_PIXELS / (image.width * image.height)))
        if coarse < 1:
            sides = max(1, int(coarse * image.width)), max(1, int(coarse * image.height))
            image = image.resize(sides, _pillow().Resampling.NEAREST)
        image = _on_white(image)
    small = image.resize((width, height), _pillow().Resampling.BICUBIC).convert("RGB")
    return small if turn is None else small.transpose(_pillow().Transpose[turn])


def prepare(image: "Image.Image", extent: Extent) -> "Image.Image":
    """RGB: the shorter side scaled to the network's square, the centre cut out.

    What is RGB or grey is scaled as it is. All else is made RGB first; where it is large in bands, which may
    round to another value, so that there is never a second picture of its size.
    """
    side = min(extent)
    left, top = (extent[0] - side) / 2, (extent[1] - side) / 2
    box = (left, top, left + side, top + side)
    if _is_plain(image):
        return _scaled(image, box, IMAGE_SIZE).convert("RGB")
    if image.width * image.height <= WHOLE_PIXELS:
        return _scaled(_on_white(image), box, IMAGE_SIZE)
    square = _pillow().new("RGB", (IMAGE_SIZE, IMAGE_SIZE))
    lines = _lines_a_band(side)
    for first in range(0, IMAGE_SIZE, lines):
        last = min(first + lines, IMAGE_SIZE)
        box = (left, top + side * first / IMAGE_SIZE, left + side, top + side * last / IMAGE_SIZE)
        square.paste(_band(image, box, last - first), (0, first))
    return cast("Image.Image", square)


WHOLE_PIXELS = 4_000_000
"""Size of a picture up to which a copy or two of it do no harm."""

_BAND_PIXELS = 2_000_000
_MIN_LINES = 4

Box = tuple[float, float, float, float]


def _is_plain(image: "Image.Image") -> bool:
    """Whether scaling it first and making it RGB afterwards is the same."""
    return image.mode in {"RGB", "L"} and not image.has_transparency_data


def _lines_a_band(side: float) -> int:
    """How many of the square's lines are made at once; all of them for pictures of ordinary size."""
    rows = _BAND_PIXELS / side - 2 * _reach(side)
    return min(IMAGE_SIZE, max(_MIN_LINES, int(rows * IMAGE_SIZE / side)))


def _reach(side: float) -> float:
    """How far from a pixel the bicubic filter looks: two of the target's pixels, and one for rounding."""
    return 2 * max(1.0, side / IMAGE_SIZE) + 1


def _band(image: "Image.Image", box: Box, lines: int) -> "Image.Image":
    """`box` of the picture as RGB `[lines, 224]`, with what the filter sees of its surroundings."""
    reach = _reach(box[2] - box[0])
    left, top = max(0, math.floor(box[0] - reach)), max(0, math.floor(box[1] - reach))
    right, bottom = math.ceil(box[2] + reach), math.ceil(box[3] + reach)
    part = image.crop((left, top, min(right, image.width), min(bottom, image.height)))
    moved = (box[0] - left, box[1] - top, box[2] - left, box[3] - top)
    return _scaled(_on_white(part), moved, lines)


def _scaled(image: "Image.Image", box: Box, lines: int) -> "Image.Image":
    return image.resize((IMAGE_SIZE, lines), _pillow().Resampling.BICUBIC, box=box)


def _turn(image: "Image.Image") -> str | None:
    """What sets the picture upright, by its EXIF; metadata too broken to be read says nothing.

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


def _scale_key(image: "Image.Image") -> None:
    """Makes the colour that a PNG calls transparent one of the 8 bits that Pillow gives its pixels."""
    key, raw = image.info.get("transparency"), _raw_mode(image)
    if raw in _GREY_STEPS and isinstance(key, int):
        steps = _GREY_STEPS[raw]
        image.info["transparency"] = (key & steps) * (255 // steps)
    if raw == "RGB;16B" and isinstance(key, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in key)


_GREY_STEPS = {"L;2": 3, "L;4": 15}


def _raw_mode(image: "Image.Image") -> str:
    """How the pixels of a PNG are stored."""
    tiles = getattr(image, "tile", None)
    return str(tiles[0].args) if image.format == "PNG" and tiles else ""


def _on_white(image: "Image.Image") -> "Image.Image":
    """RGB whatever the mode: wide greys are scaled down, not clipped, and what is clear is laid on white."""
    if image.mode.startswith("I;16") or image.mode == "I":
        return _narrowed(image).convert("RGB")
    if image.has_transparency_data:
        rgba = image if image.mode == "RGBA" else image.convert("RGBA")
        white = _pillow().new("RGBA", rgba.size, "white")
        return cast("Image.Image", _pillow().alpha_composite(white, rgba).convert("RGB"))
    return image.convert("RGB")


def _narrowed(image: "Image.Image") -> "Image.Image":
    """16 bits of grey become 8; `I` is how Pillow shows what some files call 32 bits."""
    values = np.asarray(image)
    narrow = (values if values.dtype == np.uint16 else values.clip(0, 65_535)) >> 8
    key = image.info.get("transparency")
    if isinstance(key, int):
        narrow[values == key] = 255
    return cast("Image.Image", _pillow().fromarray(narrow.astype(np.uint8)))


@cache
def _pillow() -> ModuleType:
    """Pillow's Image module, without its own limit of pixels and without its warnings."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # ours is applied to what the header says, and is an option
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # on metadata, file by file
    return Image


@contextmanager
def _reasons(head: bytes, size: int, name: str) -> Iterator[None]:
    """Translates whatever Pillow raises into one reason out of the closed set."""
    from PIL import UnidentifiedImageError

    try:
        yield
    except PictureError:
        raise
    except MemoryError as error:
        raise PictureError(f"{name} does not fit into memory", reason=SkipReason.TOO_LARGE) from error
    except UnidentifiedImageError as error:
        raise unidentified(head, name) from error
    except Exception as error:
        reason = SkipReason.TRUNCATED if _is_cut_short(head, size, error) else SkipReason.UNREADABLE
        raise PictureError(f"{name} is damaged: {error}", reason=reason) from error


_CUT_SHORT = ("truncated", "unexpected end", "broken data stream", "not enough", "premature")


def _is_cut_short(head: bytes, size: int, error: Exception) -> bool:
    """As the decoder says; WebP's says nothing, but the file tells how long it should be."""
    if head.startswith(b"RIFF"):
        return size < 8 + int.from_bytes(head[4:8], "little")
    return isinstance(error, EOFError) or any(word in str(error).lower() for word in _CUT_SHORT)
