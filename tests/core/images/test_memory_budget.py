"""The memory of decoding: estimated by the header, with scans counted, and shared among threads."""

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from lookalike_core.images.jpeg import MAX_SCANS, count_scans
from lookalike_core.images.memory_budget import Budget, decoding_bytes
from PIL import Image

PIXELS = 640 * 480


def encoded(kind: str, mode: str = "RGB", **options: Any) -> io.BytesIO:
    """Returns the bytes of a file of this format, with some structure."""
    file = io.BytesIO()
    Image.linear_gradient("L").resize((640, 480)).convert(mode).save(file, kind, **options)
    file.seek(0)
    return file


@pytest.mark.parametrize(
    ("kind", "options", "bytes_a_pixel"),
    [
        ("PNG", {}, 4),
        ("JPEG", {}, 4),
        ("JPEG", {"progressive": True, "subsampling": "4:2:0"}, 4 + 3),
        ("JPEG", {"progressive": True, "subsampling": "4:4:4"}, 4 + 6),
        ("JPEG", {"progressive": True, "mode": "L"}, 4 + 2),
        ("WEBP", {}, 16),
        ("AVIF", {}, 16),
        ("TIFF", {}, 4),
        ("TIFF", {"compression": "tiff_lzw", "tiffinfo": {278: 480}}, 4 + 3),
        ("TIFF", {"compression": "tiff_lzw", "tiffinfo": {278: 48}}, 4 + 0.3),
    ],
    ids=str,
)
def test_estimated_bytes_cover_the_measured_peak(
    kind: str, options: dict[str, Any], bytes_a_pixel: float
) -> None:
    """The peak memory of a process was measured on images of 24 megapixels."""
    file = encoded(kind, **options)
    with Image.open(file) as image:
        scans = count_scans(file) if kind == "JPEG" else 1
        needed = decoding_bytes(image, full_pixels=PIXELS, scans=scans, file_bytes=0)
    assert needed == pytest.approx(bytes_a_pixel * PIXELS)


def test_a_tile_may_be_larger_than_its_image() -> None:
    """A decompression bomb can hide behind a small image size."""
    with Image.open(encoded("TIFF", compression="tiff_lzw")) as image:
        image.tag_v2[322] = image.tag_v2[323] = 30_000  # type: ignore[attr-defined]
        assert decoding_bytes(image, full_pixels=PIXELS, scans=1, file_bytes=0) > 2_700_000_000


def test_only_scans_of_the_image_itself_are_counted() -> None:
    """Previews in metadata and videos behind the image have scans of their own."""
    plain, progressive = encoded("JPEG").getvalue(), encoded("JPEG", progressive=True).getvalue()
    assert count_scans(io.BytesIO(plain)) == 1
    scans = count_scans(io.BytesIO(progressive))
    assert scans == progressive.count(b"\xff\xda")
    preview = b"\xff\xe5" + (2 + 500).to_bytes(2) + b"\xff\xda" * 250
    assert count_scans(io.BytesIO(plain[:2] + preview + plain[2:] + b"\xff\xda" * 1000)) == 1


@pytest.mark.parametrize("size", [2, 3, 10, 600, 2**16, 2**16 + 3])
def test_scans_of_a_truncated_file_are_counted_to_its_end(size: int) -> None:
    """Counting ends wherever the file was cut."""
    data = encoded("JPEG", progressive=True).getvalue()
    assert count_scans(io.BytesIO(data[:size])) <= 10
    assert count_scans(io.BytesIO((data[:2] + b"\xff" * 2**17)[:size])) == 0


def test_counting_of_scans_stops_above_the_limit() -> None:
    """Counting stops at one above the limit."""
    scan = b"\xff\xda\0\x02" + b"\0" * 10
    assert count_scans(io.BytesIO(b"\xff\xd8" + scan * 10_000)) == MAX_SCANS + 1


def test_reservations_wait_until_the_budget_has_room() -> None:
    """Threads that ask for more than is free wait."""
    budget, lock, now, most = Budget(10), threading.Lock(), 0, 0

    def decode(amount: int) -> None:
        nonlocal now, most
        with budget.reserve(amount):
            with lock:
                now += amount
                most = max(most, now)
            threading.Event().wait(0.001)
            with lock:
                now -= amount

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(decode, [1, 4, 3, 9, 2, 5, 7, 10] * 10))
    assert most <= 10


def test_a_reservation_above_the_budget_runs_alone() -> None:
    """An image allowed by --max-pixels would otherwise wait for ever."""
    budget = Budget(10)
    with budget.reserve(1000):
        waiting = threading.Thread(target=lambda: budget.reserve(1).__enter__(), daemon=True)
        waiting.start()
        waiting.join(0.05)
        assert waiting.is_alive()
    waiting.join(10)
    assert not waiting.is_alive()


def test_a_failed_decoding_releases_its_reservation() -> None:
    """Otherwise a few damaged images would block all threads."""
    budget = Budget(10)
    for _ in range(3):
        with pytest.raises(OSError, match="broken"), budget.reserve(10):
            raise OSError("broken")
