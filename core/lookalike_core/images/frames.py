"""The frame of an animation that stands for it: the first that shows something.

Animations fade in from black or white, or begin with nothing at all. How far one looks is bounded in frames
and in pixels, not in seconds, so that a file gives the same image on every machine.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

MAX_FRAMES = 256
"""Frames that are looked at; some ten seconds of most animations."""

MAX_PIXELS_SEEN = 300_000_000
"""Pixels of all these frames together."""

MAX_KEPT = 4
"""Images of a HEIC file that are looked at: its library keeps each one that it has decoded."""

MAX_FRAME_PIXELS = 20_000_000
"""Width times height above which the first frame is taken, where Pillow lays one frame over another."""

COPIES = 3
"""Images of its size that Pillow holds besides while it does so."""

VISIBLE = 24
"""Levels of 0 to 255 from the darkest to the lightest of what shows something; noise of coding has six."""

_SIDE = 64
_FINE_SIDE = 256
_LAYERED = ("GIF", "PNG")
_ANIMATED = (*_LAYERED, "WEBP", "AVIF", "HEIF")
_CHOSEN = "lookalike.frame"


def may_be_animated(image: "Image.Image") -> bool:
    """Whether it may be an animation; of a GIF that is known only when the second frame is looked for."""
    return image.format == "GIF" or (image.format in _ANIMATED and getattr(image, "n_frames", 1) > 1)


def frame_bytes(image: "Image.Image") -> int:
    """Returns what looking at the frames takes beside what `load` takes; 0 for what is no animation."""
    is_layered = image.format in _LAYERED and image.width * image.height <= MAX_FRAME_PIXELS
    return 4 * COPIES * image.width * image.height if is_layered and may_be_animated(image) else 0


def find_frame(
    image: "Image.Image",
    *,
    sound: Callable[[], int],
    max_frames: int = MAX_FRAMES,
    max_pixels: int = MAX_PIXELS_SEEN,
    max_frame_pixels: int = MAX_FRAME_PIXELS,
) -> int | None:
    """Returns the number of the frame to take, None where that is the one at which `image` is open.

    No more than the first `sound()` frames are looked at, nor more than `max_frames`, or than `max_pixels`
    are in; of frames over `max_frame_pixels` that are laid one over another none is. One that is damaged ends
    the search. Where none of them shows anything, it is the first. The image has been moved where a number is
    given: open it anew.

    Raises:
        Exception: whatever Pillow raises where the first frame cannot be decoded.
    """
    if not may_be_animated(image):
        return None
    image.load()
    if _has_contrast(image):
        return None
    first = image.tell()
    most = min(sound(), max_frames, max_pixels // (image.width * image.height))
    for number in _list_candidates(image, most, max_frame_pixels):
        try:
            image.seek(number)
            image.load()
        except Exception:  # noqa: BLE001 - the end, or a dozen kinds of damage
            return first
        if _has_contrast(image):
            return number
    return first


def mark_choice(image: "Image.Image", *, is_first: bool) -> None:
    """Notes on an open image whether it is its file's first one."""
    image.info[_CHOSEN] = is_first


def is_first_frame(image: "Image.Image") -> bool:
    """Whether an open image is what it was before frames and pages were chosen: its file's first one."""
    return bool(image.info.get(_CHOSEN, True))


def _list_candidates(image: "Image.Image", most: int, max_frame_pixels: int) -> Sequence[int]:
    """Returns the numbers of the frames that are looked at after the first; none is larger than that."""
    pixels = image.width * image.height
    if image.format in _LAYERED and pixels > max_frame_pixels:
        return ()
    if image.format != "HEIF":
        return range(1, most)
    first, parts = image.tell(), getattr(image, "_heif_file", None) or ()
    sizes = [each.size[0] * each.size[1] for each in parts]
    return [number for number, size in enumerate(sizes) if number != first and size <= pixels][:MAX_KEPT]


def _has_contrast(image: "Image.Image") -> bool:
    """Whether anything stands out from the rest of a frame, on a black or on a white ground."""
    if max(image.size) > _FINE_SIDE and image.mode in {"P", "1"}:  # indices cannot be averaged
        scale = _FINE_SIDE / max(image.size)
        image = image.resize(_scale(image.size, scale), resample=0)
    if image.mode not in {"RGB", "RGBA"} or image.has_transparency_data:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    small = image.resize(_scale(image.size, min(1.0, _SIDE / max(image.size))), resample=4, reducing_gap=2.0)
    pixels = np.asarray(small, dtype=np.float32)
    if small.mode == "RGB":
        return _largest_range(pixels) >= VISIBLE
    alpha = pixels[..., 3:] / 255
    on_black = pixels[..., :3] * alpha
    return max(_largest_range(on_black), _largest_range(on_black + 255 * (1 - alpha))) >= VISIBLE


def _scale(size: tuple[int, int], scale: float) -> tuple[int, int]:
    return max(1, round(scale * size[0])), max(1, round(scale * size[1]))


def _largest_range(pixels: NDArray[np.floating]) -> float:
    """Returns the difference of the highest and the lowest value in the channel where that is most."""
    return float(np.ptp(pixels, axis=(0, 1)).max())
