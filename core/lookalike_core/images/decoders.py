"""Which decoder opens a file, and whether it is installed."""

from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO

from lookalike_core.errors import MissingDecoderError
from lookalike_core.images.formats import is_avif, is_heif
from lookalike_core.images.image_errors import unsupported_error
from lookalike_core.images.samples import describe_unsupported
from lookalike_core.images.unlimited import open_heif, open_image

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "DIB", "AVIF")
"""The decoders that may open a file, regardless of its suffix. MPO, of some cameras, is read as JPEG."""


def open_header(stream: BinaryIO, head: bytes, name: str) -> "Image.Image":
    """Opens an image and reads its header only.

    Raises:
        ImageError: the header is whole, and no decoder supports such samples.
    """
    from PIL import UnidentifiedImageError

    try:
        return open_heif(stream) if _is_heif(head, name) else open_image(stream, FORMATS)
    except UnidentifiedImageError:
        if (what := describe_unsupported(stream, head)) is None:
            raise
        raise unsupported_error(f"{name} is {what}, which is not supported") from None


def _is_heif(head: bytes, name: str) -> bool:
    """Returns whether the file is HEIC and its decoder is installed.

    Raises:
        MissingDecoderError: it is HEIC or AVIF, and its decoder is not installed.
    """
    if is_heif(head):
        with _ONE_LOADER:  # threads that load a library at once may see it half loaded
            is_read = _can_read_heif()
        if not is_read:
            raise MissingDecoderError(f"{name} is HEIC", needed="this project's extra lookalike[heif]")
        return True
    if is_avif(head) and not _can_read_avif():
        raise MissingDecoderError(f"{name} is AVIF", needed="a Pillow build with AVIF support")
    return False


_ONE_LOADER = Lock()


@cache
def _can_read_heif() -> bool:
    """Returns whether the HEIC extra is installed and can be imported."""
    try:
        import pillow_heif  # noqa: F401 - `open_heif` uses it
    except ImportError:
        return False
    return True


@cache
def _can_read_avif() -> bool:
    from PIL import features

    return bool(features.check("avif"))
