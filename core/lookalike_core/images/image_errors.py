"""Errors of decoders, translated into ours, each with a reason of a closed set."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lookalike_core.errors import ImageError, SkipReason
from lookalike_core.images.formats import is_avif, is_heif, is_webp


@contextmanager
def translate_errors(
    head: bytes, name: str, is_cut_off: Callable[[], bool] = lambda: False
) -> Iterator[None]:
    """Translates any error that Pillow raises in the block into an `ImageError` with its reason."""
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
        raise _unidentified(head, name, is_cut_off=is_cut_off()) from error
    except Exception as error:
        if (what := _unread_kind(error)) is not None:
            raise unsupported_error(f"{name} is {what}, which is not supported") from error
        if is_cut_off() or _says_cut_off(error):
            raise ImageError(
                f"{name} ends before its image does ({error})", reason=SkipReason.TRUNCATED
            ) from error
        raise ImageError(f"{name} is damaged: {error}", reason=SkipReason.UNREADABLE) from error


def unsupported_error(message: str) -> ImageError:
    """Returns the error for an intact file of an unsupported kind, with the remedy."""
    return ImageError(f"{message}; convert it to PNG", reason=SkipReason.UNSUPPORTED_FORMAT)


_CUT_OFF = ("truncated", "unexpected end", "not enough", "premature")


def _says_cut_off(error: Exception) -> bool:
    return isinstance(error, EOFError) or any(word in str(error).lower() for word in _CUT_OFF)


_OUR_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_OTHER_MAGIC = {
    b"8BPS": "a Photoshop file",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"%PDF": "a PDF",
    b"<svg": "SVG",
}


def _unidentified(head: bytes, name: str, *, is_cut_off: bool) -> ImageError:
    """Returns the error for a file that no decoder accepts, by its first bytes and whether it is cut off."""
    for magic, what in _OTHER_MAGIC.items():
        if head.startswith(magic):
            return unsupported_error(f"{name} is {what}")
    if head.startswith(_OUR_MAGIC) or is_webp(head) or is_avif(head) or is_heif(head):
        if is_cut_off:
            return ImageError(f"{name} ends before its image does", reason=SkipReason.TRUNCATED)
        return ImageError(
            f"{name} has a damaged header, or is of an unsupported kind", reason=SkipReason.UNREADABLE
        )
    return ImageError(f"{name} is not an image", reason=SkipReason.NOT_AN_IMAGE)


_UNREAD_KINDS = {
    "unsupported bmp bitfields layout": "a BMP with an unusual layout of bits",
    "unsupported bmp compression (4)": "a BMP that holds a JPEG",
    "unsupported bmp compression (5)": "a BMP that holds a PNG",
    **{
        f"unsupported bmp compression ({each})": "a BMP of an unusual compression" for each in (6, 11, 12, 13)
    },
    "unsupported bmp header type (16)": "a BMP with a short header",
    **{f"unsupported bmp pixel depth ({each})": "a BMP of an unusual depth" for each in (2, 64)},
    "unknown raw mode": "an image of an unusual layout of samples",
    "photo files not yet supported": "a JPEG XR",
}
"""Pillow's messages about files that may be intact, in lower case -> what they are."""


def _unread_kind(error: Exception) -> str | None:
    """Returns what kind of file a decoder reports as unsupported; None for any other error."""
    said = str(error).lower()
    return next((what for words, what in _UNREAD_KINDS.items() if words in said), None)
