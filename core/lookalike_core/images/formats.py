"""What a file is, by its first bytes; its name proves nothing."""

from collections.abc import Collection

from lookalike_core.errors import ImageError, SkipReason

HEAD_BYTES = 64
"""As much of a file as is looked at here."""

_OUR_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_OTHER_MAGIC = {
    b"8BPS": "a Photoshop file",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"%PDF": "a PDF",
    b"<svg": "SVG",
}
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"heif"}


def is_avif(head: bytes) -> bool:
    """Whether the file calls itself AVIF, if only as its second name."""
    return not _AVIF_BRANDS.isdisjoint(_brands(head))


def is_heif(head: bytes) -> bool:
    """Whether the file is HEIC or HEIF."""
    return not is_avif(head) and not _HEIF_BRANDS.isdisjoint(_brands(head))


def is_webp(head: bytes) -> bool:
    """Whether the file is WebP."""
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def _brands(head: bytes) -> Collection[bytes]:
    """ISO 14496-12: a box `ftyp` of the size in front of it, with the main brand and its compatible ones."""
    if head[4:8] != b"ftyp":
        return ()
    box = head[: int.from_bytes(head[:4])] or head
    return {box[8:12], *(box[i : i + 4] for i in range(16, len(box) - 3, 4))}


def unidentified(head: bytes, name: str, *, is_cut_off: bool) -> ImageError:
    """Says what the first bytes tell of a file that no decoder takes, and whether it ends too early."""
    for magic, what in _OTHER_MAGIC.items():
        if head.startswith(magic):
            return ImageError(f"{name} is {what}; convert it to PNG", reason=SkipReason.UNSUPPORTED_FORMAT)
    if head.startswith(_OUR_MAGIC) or is_webp(head) or is_avif(head) or is_heif(head):
        if is_cut_off:
            return ImageError(f"{name} ends before its image does", reason=SkipReason.TRUNCATED)
        return ImageError(
            f"{name} is damaged in its header, or of a kind that cannot be read", reason=SkipReason.UNREADABLE
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
"""What Pillow says of files that may well be sound, in lower case -> what they are."""


def unread_kind(error: Exception) -> str | None:
    """What a file is, where a decoder says that it is not made for it; None where it says something else."""
    said = str(error).lower()
    return next((what for words, what in _UNREAD_KINDS.items() if words in said), None)
