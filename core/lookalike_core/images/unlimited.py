"""Pillow without its own pixel limit, which belongs to the host application and all of its threads.

`PIL.Image.open` and `crop` compare with `PIL.Image.MAX_IMAGE_PIXELS`, and so does loading a TIFF; here the
same is done with our own limit only. Where a decoder compares on its own (a WebP of twice the host's limit,
further images of an MPO, a GIF whose frames reach beyond its canvas), the host's limit applies, too.
"""

import struct
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, BinaryIO, cast

from lookalike_core import own_process

if TYPE_CHECKING:
    from PIL import Image, ImageFile

PREFIX_BYTES = 16
"""How many bytes Pillow's decoders need to recognise their files."""


def open_image(stream: BinaryIO, formats: Sequence[str]) -> "ImageFile.ImageFile":
    """Opens an image by the first of `formats` (Pillow's names) that accepts it; reads the header only.

    Otherwise as `PIL.Image.open`.

    Raises:
        UnidentifiedImageError: no decoder accepts it.
    """
    from PIL import Image, UnidentifiedImageError

    if own_process.is_own():
        Image.MAX_IMAGE_PIXELS = None  # noqa: TID251 - what decoders compare by themselves
    Image.preinit()
    stream.seek(0)
    prefix = stream.read(PREFIX_BYTES)
    for name in formats:
        if name not in Image.OPEN:
            Image.init()
        factory, accept = Image.OPEN[name]
        taken = accept is None or accept(prefix)
        if not taken or isinstance(taken, str):  # which says what is not installed
            continue
        stream.seek(0)
        try:
            if name == "TIFF":
                return _unlimited_tiff()(stream)
            return factory(stream, "")
        except (SyntaxError, IndexError, TypeError, struct.error):
            continue
    raise UnidentifiedImageError("no decoder accepts it")


def open_heif(stream: BinaryIO) -> "ImageFile.ImageFile":
    """Opens a HEIC file by the extra's class; registering it with Pillow would change the host application.

    Raises:
        UnidentifiedImageError: it is damaged.
    """
    from PIL import UnidentifiedImageError
    from pillow_heif import HeifImageFile

    stream.seek(0)
    try:
        return cast("ImageFile.ImageFile", HeifImageFile(stream))  # type: ignore[no-untyped-call]
    except (SyntaxError, IndexError, TypeError, struct.error) as error:
        raise UnidentifiedImageError(f"no decoder accepts it ({error})") from error


def crop(image: "Image.Image", box: tuple[int, int, int, int]) -> "Image.Image":
    """Returns a part of a loaded image: left, top, right, bottom, the last two exclusive."""
    if box == (0, 0, *image.size):
        return image.copy()
    image.load()
    return image._new(image.im.crop(box))  # noqa: SLF001 - as `PIL.Image.Image.crop` ends


@cache
def _unlimited_tiff() -> type["ImageFile.ImageFile"]:
    from PIL import Image, TiffImagePlugin

    class UnlimitedTiff(TiffImagePlugin.TiffImageFile):
        def load_prepare(self) -> None:
            """Loads the memory first, since Pillow then does not compare the size with its limit."""
            if self._im is None:
                self.im = Image.core.new(self.mode, self._tile_size)  # type: ignore[attr-defined] # Pillow's C part
            super().load_prepare()

    return UnlimitedTiff
