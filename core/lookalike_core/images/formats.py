"""The format of a file by its first bytes; its name is not considered."""

from collections.abc import Collection

HEAD_BYTES = 64
"""How many bytes at the beginning of a file identify its format."""

_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"heif"}


def is_avif(head: bytes) -> bool:
    """Returns whether the file declares AVIF as its main or a compatible brand."""
    return not _AVIF_BRANDS.isdisjoint(_brands(head))


def is_heif(head: bytes) -> bool:
    """Returns whether the file is HEIC or HEIF."""
    return not is_avif(head) and not _HEIF_BRANDS.isdisjoint(_brands(head))


def is_webp(head: bytes) -> bool:
    """Returns whether the file is WebP."""
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def _brands(head: bytes) -> Collection[bytes]:
    """Returns the main brand and the compatible ones in a box `ftyp` (ISO 14496-12, 4.3)."""
    if head[4:8] != b"ftyp":
        return ()
    box = head[: int.from_bytes(head[:4])] or head
    return {box[8:12], *(box[i : i + 4] for i in range(16, len(box) - 3, 4))}
