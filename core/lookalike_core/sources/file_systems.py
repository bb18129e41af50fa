"""Object stores, by pyarrow's file systems: listed, and read whole objects at a time.

Credentials, the region and another endpoint come from where the tools of each store have them: for S3
`AWS_ACCESS_KEY_ID`, `AWS_PROFILE`, `AWS_ENDPOINT_URL` and the files below `~/.aws`, for Google
`GOOGLE_APPLICATION_CREDENTIALS`. The name `anonymous` in a URL, as in `s3://anonymous@BUCKET`, uses none.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from lookalike_core.errors import LookalikeError, UsageError

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo, FileSystem

SCHEMES = ("s3", "gs")
"""The object stores, by the schemes of their URLs."""

_URL = re.compile(rf"({'|'.join(SCHEMES)})://([^/]*)(?:/(.*))?", re.DOTALL)
_ANY_URL = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")
_ANONYMOUS = "anonymous"
_RETRY_S = 30
"""How long Google's client tries again; by itself it does for 15 minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryStatus:
    """What is known of an entry: a folder, or a file with its size; times in nanoseconds since 1970."""

    is_folder: bool = False
    bytes: int = 0
    mtime_ns: int = 0


def is_url(text: str) -> bool:
    """Returns whether a text is the URL of a place in an object store."""
    return _URL.match(text) is not None


def check_url(text: str) -> str:
    """Returns the URL of a folder or file in an object store, without a slash at its end.

    Raises:
        UsageError: the scheme is of no supported store, or the URL has no bucket, has credentials or settings
            in it, or names no one place.
    """
    scheme = cast("re.Match[str]", _ANY_URL.match(text))[1]
    if scheme not in SCHEMES:
        raise UsageError(
            f"{scheme}:// cannot be read; write s3://BUCKET/FOLDER, gs://BUCKET/FOLDER or a local folder"
        )
    _, authority, key = cast("re.Match[str]", _URL.match(text)).groups()
    user, at, bucket = authority.rpartition("@")
    if at and user != _ANONYMOUS:  # which is not repeated: it may be a secret
        raise UsageError(
            f"the {scheme}:// URL of bucket {bucket} has credentials in it, which would be stored with "
            "the dataset; leave them out, and pass them by the store's environment variables or its profile"
        )
    names = (key or "").rstrip("/").split("/") if (key or "").rstrip("/") else []
    if not bucket or not all(name not in ("", ".", "..") for name in names):
        raise UsageError(f"{text[:200]} is no folder of a bucket; write {scheme}://BUCKET/FOLDER")
    if re.search(r"\?[a-z_]+=", text):
        raise UsageError(
            f"{text[:200].partition('?')[0]} has settings behind it; leave them out, and set "
            "AWS_ENDPOINT_URL and AWS_REGION"
        )
    return "/".join([f"{scheme}://{authority}", *names])


def is_any_url(text: str) -> bool:
    """Returns whether a text looks like the URL of anything."""
    return _ANY_URL.match(text) is not None


def require_pyarrow(what: str) -> None:
    """Refuses what only pyarrow can read, where it is not installed.

    Raises:
        UsageError: it is not; the message names the extra.
    """
    try:
        import pyarrow.fs  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f'{what} needs pyarrow; install it with: pip install "lookalike[parquet]"'
        ) from error


def open_file_system(place: str) -> "tuple[FileSystem, str]":
    """Returns the file system of a URL or of an absolute path on this machine, and the path in it.

    Raises:
        OSError: pyarrow is not installed, or the bucket's region cannot be found.
    """
    match = _URL.match(place)
    with arrow_errors():
        if match is None:
            from pyarrow.fs import LocalFileSystem

            return LocalFileSystem(), place
        scheme, authority, key = match.groups()
        return _connect(scheme, authority), "/".join([authority.rpartition("@")[2], *filter(None, [key])])


@lru_cache(maxsize=32)
def _connect(scheme: str, authority: str) -> "FileSystem":
    from pyarrow.fs import FileSystem, S3FileSystem, resolve_s3_region

    is_anonymous, bucket = authority.startswith(f"{_ANONYMOUS}@"), authority.rpartition("@")[2]
    if scheme == "s3" and is_anonymous:
        return S3FileSystem(anonymous=True, region=resolve_s3_region(bucket))
    settings = f"?retry_limit_seconds={_RETRY_S}" if scheme == "gs" else ""
    return FileSystem.from_uri(f"{scheme}://{authority}{settings}")[0]


@contextmanager
def arrow_errors() -> Iterator[None]:
    """Turns what pyarrow raises in the block into an `OSError`.

    Raises:
        FileNotFoundError: there is no such file, folder or bucket.
        OSError: anything else has failed, or pyarrow is not installed.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if "NO_SUCH_BUCKET" in str(error):
            raise FileNotFoundError(str(error)) from error
        raise
    except ImportError as error:
        raise OSError('pyarrow is not installed; pip install "lookalike[parquet]"') from error
    except Exception as error:
        import pyarrow as pa

        if not isinstance(error, pa.ArrowException):
            raise
        raise OSError(str(error)) from error


@contextmanager
def source_errors(place: Path) -> Iterator[None]:
    """Turns an `OSError` of the block into an error that names the place and the next step.

    Raises:
        UsageError: there is no such folder, file or bucket.
        LookalikeError: the store does not answer or refuses, or a file is damaged.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise UsageError(f"{place} does not exist; check its name", path=place) from error
    except OSError as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise LookalikeError(
            f"{place} cannot be read: {said}; {_advise(str(place), said)}", path=place
        ) from error


_REFUSALS = re.compile(
    "(?i)access.?denied|forbidden|credential|invalid.?access.?key|signature|expired|unauth|permission"
)


def _advise(place: str, said: str) -> str:
    """Returns the next step after an error of a store."""
    if not is_url(place):
        return "check the file, or write it again"
    scheme, bucket = cast("re.Match[str]", _URL.match(place)).groups()[:2]
    if _REFUSALS.search(said):
        where = "AWS_PROFILE or AWS_ACCESS_KEY_ID" if scheme == "s3" else "GOOGLE_APPLICATION_CREDENTIALS"
        return f"check the credentials ({where}); a public bucket is {scheme}://{_ANONYMOUS}@{bucket}"
    endpoint = " and AWS_ENDPOINT_URL" if scheme == "s3" else ""
    return f"check the network{endpoint}, and try again"


def read_status(place: str) -> EntryStatus:
    """Returns what is known of a file or folder.

    Raises:
        FileNotFoundError: it does not exist.
        OSError: that cannot be told.
    """
    file_system, path = open_file_system(place)
    with arrow_errors():
        from pyarrow.fs import FileType

        [info] = file_system.get_file_info([path])
    if info.type == FileType.NotFound:
        raise FileNotFoundError(f"{place} does not exist")
    return EntryStatus(
        is_folder=info.type == FileType.Directory, bytes=info.size or 0, mtime_ns=info.mtime_ns or 0
    )


def read_object(place: str) -> bytes:
    """Returns the content of a file.

    Raises:
        FileNotFoundError: it does not exist.
        OSError: it cannot be read.
    """
    with arrow_errors(), open_seekable(place) as file:
        return file.read()


def open_seekable(place: str) -> BinaryIO:
    """Returns a file that is open for reading anywhere in it, as pyarrow has it.

    Raises:
        FileNotFoundError: it does not exist.
        OSError: it cannot be read.
    """
    file_system, path = open_file_system(place)
    with arrow_errors():
        return cast("BinaryIO", file_system.open_input_file(path))


def list_folder(place: str) -> "list[FileInfo]":
    """Returns the files and folders of a folder by name.

    Raises:
        FileNotFoundError: it does not exist.
        OSError: it cannot be listed.
    """
    file_system, path = open_file_system(place)
    with arrow_errors():
        from pyarrow.fs import FileSelector

        infos = file_system.get_file_info(FileSelector(path))
    return sorted(infos, key=lambda info: str(info.base_name))
