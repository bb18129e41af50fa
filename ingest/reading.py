"""Reading ahead: files are read, hashed and decoded in threads while the network is busy."""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from lookalike.cores import cores
from lookalike.errors import MissingDecoderError, PictureError, SkipReason
from lookalike.pictures.decoding import MAX_PIXELS, Picture, decode
from lookalike.pictures.files import opened, sha256_of
from lookalike.pictures.scan import FoundFile

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadFile:
    """A file that was read; `picture` is None where its vector is known, or where `problem` says why.

    `needed` is what has to be installed for it to be read.
    """

    found: FoundFile
    sha256: str = ""
    picture: Picture | None = None
    problem: SkipReason | None = None
    needed: str | None = None


def read_picture(
    found: FoundFile, is_known: Callable[[str], bool], *, max_pixels: int = MAX_PIXELS
) -> ReadFile:
    """Reads and hashes a file, and decodes it unless vectors for its bytes are known."""
    try:
        with opened(found.file) as stream:
            sha256 = sha256_of(stream)
            picture = None if is_known(sha256) else decode(stream, found.path, max_pixels=max_pixels)
    except MissingDecoderError as error:
        return ReadFile(found=found, problem=error.reason, needed=error.needed)
    except PictureError as error:
        return ReadFile(found=found, problem=error.reason)
    return ReadFile(found=found, sha256=sha256, picture=picture)


def map_ahead(
    function: Callable[[T], R],
    items: Iterator[T],
    *,
    ahead: int | Callable[[], int],
    workers: int | None = None,
) -> Generator[R, None, None]:
    """`map` in threads and in order, never more than `ahead` items in front of the consumer.

    As many threads as cores and one, unless `workers` says how many. `items` are taken in the consumer's own;
    an error of theirs is raised when what they gave before has been handed on.
    """
    with ThreadPoolExecutor(workers or min(32, cores() + 1)) as pool:
        waiting: deque[Future[R]] = deque()

        def fill() -> None:
            room = (ahead() if callable(ahead) else ahead) - len(waiting)
            try:
                waiting.extend(pool.submit(function, item) for item in islice(items, max(0, room)))
            except Exception as error:  # noqa: BLE001 - it waits for its turn
                failed: Future[R] = Future()
                failed.set_exception(error)
                waiting.append(failed)

        try:
            fill()
            while waiting:
                result = waiting.popleft().result()
                fill()
                yield result
        finally:
            for future in waiting:
                future.cancel()
