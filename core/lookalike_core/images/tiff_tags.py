"""The TIFF tags that are read here, by number (TIFF 6.0)."""

from enum import IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image


class Tag(IntEnum):
    """The number of a tag; Pillow's `TiffImagePlugin` names them too, but is imported only for decoding."""

    NEW_SUBFILE_TYPE = 254
    SUBFILE_TYPE = 255
    WIDTH = 256
    HEIGHT = 257
    BITS_PER_SAMPLE = 258
    PHOTOMETRIC = 262
    FILL_ORDER = 266
    STRIP_OFFSETS = 273
    SAMPLES_PER_PIXEL = 277
    ROWS_PER_STRIP = 278
    STRIP_BYTE_COUNTS = 279
    PLANAR_CONFIGURATION = 284
    COLOUR_MAP = 320
    TILE_WIDTH = 322
    TILE_LENGTH = 323
    TILE_OFFSETS = 324
    TILE_BYTE_COUNTS = 325
    SUB_IFDS = 330
    EXTRA_SAMPLES = 338
    SAMPLE_FORMAT = 339
    YCBCR_SUBSAMPLING = 530
    PHOTOSHOP_LAYERS = 37724


def tags_of(image: "Image.Image") -> Any:  # noqa: ANN401 - Pillow's mapping of tags, or an empty one
    """Returns the tags of an opened TIFF by number; empty for any other file."""
    return getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}


def first_number(tags: Any, tag: Tag) -> int | None:  # noqa: ANN401 - as above
    """Returns the first value of a tag; None if it is missing or not an integer."""
    value = tags.get(tag)
    first = value[0] if isinstance(value, tuple) and value else value
    return first if isinstance(first, int) else None
