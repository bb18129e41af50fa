"""Reads the weights in Keras' `.keras` files, which are ZIP archives, and nothing else in them.

The archives also hold metadata and a configuration, from which Keras would build layers and run code.
"""

import errno
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lookalike_core.errors import WeightsError

WEIGHTS_MEMBER = "model.weights.h5"
"""Source: `_VARS_FNAME_H5` in `keras/src/saving/saving_lib.py`."""

MAX_BYTES = 8 * 2**30
"""Most unpacked bytes; VGG16 with its dense layers and an optimizer's state has less than 2 GiB."""

_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)
"""Errors of `zipfile` for archives that are damaged, encrypted or use another compression."""

_ZIP_SIGNATURE = b"PK\x03\x04"


def is_archive(path: Path) -> bool:
    """Returns whether a file is a ZIP archive, by its first bytes; False if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(_ZIP_SIGNATURE)) == _ZIP_SIGNATURE
    except OSError:
        return False


@contextmanager
def unpack_weights(path: Path) -> Iterator[Path]:
    """Unpacks the HDF5 file in a `.keras` file into a temporary folder, and yields its path.

    Raises:
        WeightsError: the archive has no weights, is damaged or encrypted, or its weights are too large.
        OSError: the disk is full.
    """
    with tempfile.TemporaryDirectory(prefix="lookalike-") as folder:
        target = Path(folder) / WEIGHTS_MEMBER
        try:
            _unpack(path, target)
        except KeyError as error:
            raise WeightsError(
                f"{path} is a ZIP archive without {WEIGHTS_MEMBER}, so it is not a .keras file; "
                "save it with Keras: model.save('x.keras')",
                path=path,
            ) from error
        except (*_DAMAGE, OSError) as error:
            if isinstance(error, OSError) and error.errno != errno.EINVAL:  # of seeking to where nothing is
                raise
            raise WeightsError(f"{path} cannot be unpacked ({error}); fetch it again", path=path) from error
        yield target


def _unpack(path: Path, target: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo(WEIGHTS_MEMBER)
        if member.file_size > MAX_BYTES:
            raise WeightsError(
                f"{path} declares weights of {member.file_size:,} bytes and at most {MAX_BYTES:,} are read; "
                "save the network alone with Keras: model.save_weights('x.weights.h5')",
                path=path,
            )
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise NotImplementedError(f"{WEIGHTS_MEMBER} is compressed with method {member.compress_type}")
        with archive.open(member) as source, target.open("wb") as written:
            shutil.copyfileobj(source, written, 2**20)
