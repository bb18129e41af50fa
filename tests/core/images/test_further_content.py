"""Further content behind an image or in its metadata is detected; padding and short trailers are not."""

import io
import struct

import pytest
from lookalike_core.images.decoding import decode_whole
from lookalike_core.images.further_content import SUBSTANCE_BYTES
from lookalike_core.images.whole_image import Besides
from PIL import Image

VIDEO = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(range(1, 255)) * 20
"""A video as phones append it to a photo."""

KINDS = ("JPEG", "PNG", "GIF", "WEBP", "BMP")


def file_of(kind: str, **options: object) -> bytes:
    """Returns a small image in that format."""
    file = io.BytesIO()
    Image.new("RGB", (32, 24), "teal").save(file, kind, **options)
    return file.getvalue()


def besides(data: bytes) -> Besides:
    """Returns what is detected in a file."""
    return decode_whole(io.BytesIO(data), "x", edge=64).besides


def box(kind: bytes, content: bytes) -> bytes:
    """Returns a box (ISO 14496-12)."""
    return struct.pack(">I", 8 + len(content)) + kind + content


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "more", [VIDEO, bytes(5_000) + VIDEO, b"MotionPhoto_Data" + VIDEO + b"SEFT", b"PK\3\4" + VIDEO]
)
def test_a_video_behind_an_image_is_noticed(kind: str, more: bytes) -> None:
    """A motion photo looks like the photo alone, but must not be deleted as its copy."""
    assert besides(file_of(kind) + more) is Besides.FURTHER


def test_a_video_behind_a_progressive_jpeg_with_a_thumbnail_is_noticed() -> None:
    """The thumbnail in its metadata has an end marker of its own."""
    exif = Image.Exif()
    exif[0x010E] = "x" + file_of("JPEG").decode("latin-1")
    photo = file_of("JPEG", progressive=True, exif=exif.tobytes())
    assert besides(photo) is Besides.NOTHING
    assert besides(photo + VIDEO) is Besides.FURTHER


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "more",
    [b"", bytes(9_000), b"\xff" * 9_000, b"\r\n" * 3_000, b"\0\0Image_UTC_Data1700000000000SEFH" + bytes(99)],
    ids=["nothing", "zeros", "ones", "lines", "a time"],
)
def test_padding_and_short_trailers_are_no_further_content(kind: str, more: bytes) -> None:
    """Cameras pad files, and phones append the time of a photo."""
    assert besides(file_of(kind) + more) is Besides.NOTHING


def test_trailers_above_the_limit_are_further_content() -> None:
    """Padding is not counted, wherever it is."""
    at_the_limit = b"\0" * 99 + b"x" * SUBSTANCE_BYTES + b"\0" * 99
    assert besides(file_of("JPEG") + at_the_limit) is Besides.NOTHING
    assert besides(file_of("JPEG") + b"x" + at_the_limit) is Besides.FURTHER


def test_the_gain_map_of_an_ultra_hdr_photo_is_noticed() -> None:
    """Pillow reads Ultra HDR as a plain JPEG; its gain map is a second image behind it."""
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description hdrgm:Version="1.0"/></x:xmpmeta>'
    gain_map = file_of("JPEG", comment=b"x" * SUBSTANCE_BYTES)
    assert besides(file_of("JPEG", xmp=xmp) + gain_map) is Besides.FURTHER


@pytest.mark.parametrize("word", ["GDepth:Format", "GImage:Mime", "GAudio:Mime"])
def test_images_and_sounds_within_xmp_are_noticed(word: str) -> None:
    """Examples are a depth map, the unblurred image, and sound."""
    xmp = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description {word}="x/y"/></x:xmpmeta>'.encode()
    assert besides(file_of("JPEG", xmp=xmp)) is Besides.FURTHER


def test_layers_of_a_tiff_are_noticed() -> None:
    """Photoshop stores layers in a tag of its own."""
    assert besides(file_of("TIFF")) is Besides.NOTHING
    assert (
        besides(file_of("TIFF", tiffinfo={37724: b"Adobe Photoshop Document Data Block"})) is Besides.FURTHER
    )


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_videos_and_depth_maps_of_heic_and_avif_are_noticed(kind: str, mode: str) -> None:
    """They are boxes behind the image, or auxiliary images; alpha is part of the image."""
    if kind == "HEIF":
        pytest.importorskip("pillow_heif", exc_type=ImportError).register_heif_opener()
    file = io.BytesIO()
    Image.new(mode, (64, 64), "#20808080" if mode == "RGBA" else "teal").save(file, kind)
    still = file.getvalue()
    assert besides(still) is Besides.NOTHING
    assert besides(still + box(b"free", VIDEO)) is Besides.NOTHING
    for more in (box(b"mpvd", VIDEO), box(b"sefd", VIDEO)):
        assert besides(still + more) is Besides.FURTHER
    if mode == "RGBA":
        depth = still.replace(b"hevc:2015:auxid:1\0", b"hevc:2015:auxid:2\0").replace(
            b"systems:auxiliary:alpha\0", b"systems:auxiliary:depth\0"
        )
        assert besides(depth) is Besides.FURTHER


@pytest.mark.parametrize("cut", [3, 40, 200])
def test_a_jpeg_without_an_end_marker_has_no_further_content(cut: int) -> None:
    """The end of its image is unknown, and all that is decoded is the image."""
    whole = file_of("JPEG")
    assert besides(whole[:-2]) is Besides.NOTHING
    assert besides(whole[:-2] + bytes(cut)) is Besides.NOTHING
