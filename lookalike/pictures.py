"""Files become pixels: which files count as pictures, and how one becomes `uint8 [224, 224, 3]`.

How a picture is brought to 224 x 224 was chosen by measurement; see docs/adr/0004-preprocessing.md.
"""

import hashlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from lookalike.backbones import IMAGE_SIZE, Backbone
from lookalike.errors import PictureError, SkipReason

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".avif"})
"""Names that count as pictures, in any case."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF")
"""Decoders that may see a file, whatever its name says. MPO, which some cameras write, is JPEG's."""

MAX_PIXELS = 200_000_000
"""Width times height above which a picture is not decoded."""

MAX_BYTES = 512 * 2**20
"""Size of a file above which it is not read."""

PREPARATION = "crop-bicubic-224"
"""Named in the preprocessing id: two ways of preparing pictures are two spaces."""

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


def read_bytes(path: Path) -> bytes:
    """The file's content.

    Raises:
        PictureError: it is gone, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise PictureError(f"{path} is not there", reason=SkipReason.VANISHED) from error
    except OSError as error:
        raise PictureError(f"{path}: {error.strerror or error}", reason=SkipReason.UNREADABLE) from error
    if len(data) > MAX_BYTES:
        raise PictureError(
            f"{path} is larger than {MAX_BYTES // 2**20} MiB, the limit", reason=SkipReason.TOO_LARGE
        )
    return data


def sha256_of(data: bytes) -> str:
    """In hex."""
    return hashlib.sha256(data).hexdigest()


def decode(data: bytes, name: str) -> Picture:
    """Decodes a picture as a person sees it: upright, first frame, transparency on white.

    Raises:
        PictureError: the bytes are no picture that can be shown; `name` stands in the message.
    """
    if not data:
        raise PictureError(f"{name} is empty", reason=SkipReason.EMPTY)
    with _reasons(data, name), _pillow().open(io.BytesIO(data), formats=FORMATS) as image:
        _check_fit(image, name)
        image.load()
        upright = _upright(image)
        pixels = np.asarray(prepare(_on_white(upright)), dtype=np.uint8)
        return Picture(pixels=pixels, width=upright.width, height=upright.height)


def _check_fit(image: "Image.Image", name: str) -> None:
    """Refuses by what the header says, before any pixel is decoded."""
    if image.width * image.height > MAX_PIXELS:
        raise PictureError(
            f"{name} has {image.width} x {image.height} pixels; the limit is {MAX_PIXELS:,}",
            reason=SkipReason.TOO_LARGE,
        )
    if image.mode == "F":
        raise PictureError(
            f"{name} has floating-point pixels, whose range nobody knows; convert it to PNG",
            reason=SkipReason.UNSUPPORTED_FORMAT,
        )


def prepare(image: "Image.Image") -> "Image.Image":
    """The shorter side scaled to the network's square, the centre cut out."""
    from PIL import ImageOps

    return ImageOps.fit(image, (IMAGE_SIZE, IMAGE_SIZE), _pillow().Resampling.BICUBIC)


def _upright(image: "Image.Image") -> "Image.Image":
    """Applies the EXIF orientation; metadata too broken to be read says nothing.

    Pillow's own `exif_transpose` writes the other metadata anew, too, and fails where that is broken.
    """
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # noqa: BLE001 - a dozen kinds, by what is broken
        return image
    turn = _TURNS.get(orientation)
    return image.transpose(_pillow().Transpose[turn]) if turn else image


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


def _on_white(image: "Image.Image") -> "Image.Image":
    """RGB whatever the mode: wide greys are scaled down, not clipped, and alpha is laid on white."""
    if image.mode.startswith("I;16") or image.mode == "I":
        image = _narrowed(image)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = _pillow().new("RGBA", rgba.size, "white")
        return cast("Image.Image", _pillow().alpha_composite(white, rgba).convert("RGB"))
    return image.convert("RGB")


def _narrowed(image: "Image.Image") -> "Image.Image":
    """16 bits of grey become 8; `I` is how Pillow shows what some files call 32 bits."""
    values = np.asarray(image)
    if values.dtype != np.uint16:
        values = values.clip(0, 65_535)
    return cast("Image.Image", _pillow().fromarray((values >> 8).astype(np.uint8)))


@cache
def _pillow() -> ModuleType:
    """Pillow's Image module, with its decompression-bomb warning as an error and its other ones off."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # on metadata, file by file
    warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
    return Image


@contextmanager
def _reasons(data: bytes, name: str) -> Iterator[None]:
    """Translates whatever Pillow raises into one reason out of the closed set."""
    from PIL import Image, UnidentifiedImageError

    try:
        yield
    except PictureError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
        raise PictureError(f"{name} is too large: {error}", reason=SkipReason.TOO_LARGE) from error
    except UnidentifiedImageError as error:
        raise _unidentified(data, name) from error
    except Exception as error:
        reason = SkipReason.TRUNCATED if _is_cut_short(data, error) else SkipReason.UNREADABLE
        raise PictureError(f"{name} is damaged: {error}", reason=reason) from error


_CUT_SHORT = ("truncated", "unexpected end", "broken data stream", "not enough", "premature")


def _is_cut_short(data: bytes, error: Exception) -> bool:
    """As the decoder says; WebP's says nothing, but the file tells how long it should be."""
    if data.startswith(b"RIFF"):
        return len(data) < 8 + int.from_bytes(data[4:8], "little")
    return isinstance(error, EOFError) or any(word in str(error).lower() for word in _CUT_SHORT)


_OUR_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"II*\0", b"MM\0*")
_OUR_CONTAINERS = (b"WEBP", b"avif", b"avis")
_OTHER_MAGIC = {
    b"8BPS": "a Photoshop file",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"%PDF": "a PDF",
    b"<svg": "SVG",
}
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"heif")


def _unidentified(data: bytes, name: str) -> PictureError:
    """Says what the first bytes tell of a file that no decoder takes."""
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
        return PictureError(
            f"{name} is HEIC, which cannot be read; convert it to JPEG", reason=SkipReason.UNSUPPORTED_FORMAT
        )
    for magic, what in _OTHER_MAGIC.items():
        if data.startswith(magic):
            return PictureError(f"{name} is {what}; convert it to PNG", reason=SkipReason.UNSUPPORTED_FORMAT)
    if data.startswith(_OUR_MAGIC) or data[8:12] in _OUR_CONTAINERS:
        return PictureError(f"{name} ends before its picture does", reason=SkipReason.TRUNCATED)
    return PictureError(f"{name} is not an image", reason=SkipReason.NOT_AN_IMAGE)
