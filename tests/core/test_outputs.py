"""Output paths: valid names, and files that are never replaced."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from lookalike_core.atomic import atomic_path
from lookalike_core.errors import UsageError
from lookalike_core.outputs import (
    MODEL_SUFFIXES,
    PAGE_SUFFIXES,
    IsOurs,
    check_apart,
    check_output_path,
    is_json_of,
    is_onnx,
    is_page,
    is_table_of,
)
from PIL import Image

PAGE = '<!doctype html>\n<head>\n<meta name="generator" content="Lookalike 1.0">\n'
COLUMNS = ("dataset", "path")


def test_checking_a_writable_path_changes_nothing(tmp_path: Path) -> None:
    """New files, existing results and missing folders pass, and the check creates nothing."""
    old = tmp_path / "old.svg"
    old.write_text(PAGE, encoding="utf-8")
    for target in (old, tmp_path / "new.SVG", tmp_path / "no" / "such" / "folder.png", Path("plot.png")):
        check_output_path(target, "--plot", (".png", ".svg"))
    assert list(tmp_path.iterdir()) == [old]
    assert old.read_text(encoding="utf-8") == PAGE


def test_an_unwritable_path_is_refused(tmp_path: Path) -> None:
    """Wrong suffixes, folders, and a file in the place of a folder are refused."""
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").touch()
    for name in ("plot.jpg", "plot", ".png"):
        with pytest.raises(UsageError, match=r"--plot: .*has to end in \.png, \.svg"):
            check_output_path(tmp_path / name, "--plot", (".png", ".svg"))
    with pytest.raises(UsageError, match=r"--csv: .*folder\.png is a folder"):
        check_output_path(tmp_path / "folder.png", "--csv")
    with pytest.raises(OSError, match="Not a directory") as caught:
        check_output_path(tmp_path / "file" / "plot.png", "--plot", (".png",))
    assert caught.value.filename == str(tmp_path / "file" / "plot.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.png"]


def test_an_output_link_is_followed_and_kept(tmp_path: Path) -> None:
    """Its target is written to, whether or not it exists."""
    (tmp_path / "link.csv").symlink_to("real.csv")
    target = check_output_path(tmp_path / "link.csv", "--csv")
    with atomic_path(target) as temporary:
        temporary.write_text("new", encoding="utf-8")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text(encoding="utf-8") == "new"


def test_devices_and_pipes_are_never_replaced(tmp_path: Path) -> None:
    """Replacing one would remove it for all users."""
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "null.csv").symlink_to(os.devnull)
    for name in ("pipe.csv", "null.csv"):
        with pytest.raises(UsageError, match=rf"--csv: .*{name} is a device or a pipe"):
            check_output_path(tmp_path / name, "--csv")


def test_a_tilde_in_an_output_path_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell does not expand the tilde of `--csv=~/x.csv`."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert check_output_path("~/x.csv", "--csv") == tmp_path / "x.csv"


def test_the_longest_name_that_a_file_may_have_can_be_written(tmp_path: Path) -> None:
    """Its temporary name is no longer."""
    target = check_output_path(tmp_path / f"{'é' * 125}.csv", "--csv")
    with atomic_path(target) as temporary:
        temporary.write_text("new", encoding="utf-8")
    assert target.read_text(encoding="utf-8") == "new"


def test_two_outputs_cannot_be_one_file(tmp_path: Path) -> None:
    """The second would overwrite the first silently."""
    (tmp_path / "link").symlink_to("x")
    one, other = check_output_path(tmp_path / "x", "--csv"), check_output_path(tmp_path / "link", "--html")
    with pytest.raises(UsageError, match=r"--csv and --html both name .*x; give each a file of its own"):
        check_apart({"--csv": one, "--plot": None, "--html": other})
    check_apart({"--csv": one, "--plot": None, "--html": tmp_path / "y"})


IMAGES = (
    *("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "PPM", "ICO", "JPEG2000", "PDF"),
    *("TGA", "PCX", "SGI", "EPS", "DIB", "ICNS", "DDS"),
)


@pytest.mark.parametrize("kind", IMAGES)
def test_an_image_is_never_replaced_whatever_its_name(kind: str, tmp_path: Path) -> None:
    """The first bytes decide; links and hard links are recognised."""
    photo = tmp_path / "page.html"
    Image.new("RGB", (16, 16), "red").save(photo, kind)
    (tmp_path / "link.html").symlink_to(photo)
    (tmp_path / "second.html").hardlink_to(photo)
    for name in ("page.html", "link.html", "second.html"):
        with pytest.raises(UsageError, match=rf"--html: .*{name} is .* and is not replaced; name another"):
            check_output_path(tmp_path / name, "--html", PAGE_SUFFIXES)


@pytest.mark.parametrize(
    "content",
    [
        b"\x89HDF\r\n\x1a\n and weights",
        b"SQLite format 3\0",
        b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>',
        b"<svg/>",
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        b"II*\0 a raw image",
    ],
    ids=["weights", "database", "svg", "bare svg", "heic", "raw"],
)
def test_weights_databases_and_drawings_are_not_overwritten(content: bytes, tmp_path: Path) -> None:
    """They may be overwritten only by a writer of the same type of file."""
    target = tmp_path / "model.onnx"
    target.write_bytes(content)
    with pytest.raises(UsageError, match="is not replaced"):
        check_output_path(target, "--output", MODEL_SUFFIXES)
    assert check_output_path(target, "--output", MODEL_SUFFIXES, is_ours=lambda _: True) == target


@pytest.mark.parametrize(
    "content",
    [
        b"#define im_width 64\n#define im_height 48\n",
        b"\0\0\0\x14ftypqt  " + bytes(900),
        gzip.compress(b"<svg/>"),
        b'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "x"><svg/>',
        b'<?xml version="1.0"?><!--' + b"x" * 5000 + b"--><svg/>",
        b"\0\0" + b"\xff\xd8\xff" + bytes(99),
        b"Dear diary,\n",
        b"\x1f",
    ],
    ids=["xbm", "mov", "svgz", "svg by its type", "svg behind a comment", "shifted", "text", "one byte"],
)
@pytest.mark.parametrize(
    ("suffixes", "is_ours"),
    [(PAGE_SUFFIXES, is_page), (MODEL_SUFFIXES, is_onnx)],
    ids=["page", "model"],
)
def test_unknown_files_are_not_overwritten(
    content: bytes, suffixes: tuple[str, ...], is_ours: Callable[[Path], bool], tmp_path: Path
) -> None:
    """Only known types of results are replaced."""
    target = tmp_path / f"old{suffixes[0]}"
    target.write_bytes(content)
    with pytest.raises(UsageError, match=r"is .* and is not replaced; name another file, or remove it"):
        check_output_path(target, "--output", suffixes, is_ours=is_ours)


@pytest.mark.parametrize(
    ("content", "is_ours"),
    [
        (b"", is_page),
        (PAGE.encode(), is_page),
        (b"\n" + PAGE.encode(), is_page),
        (b"dataset,path\n", is_table_of(COLUMNS)),
        (b"dataset,path\r\na,b\r\n", is_table_of(COLUMNS)),
        (b"dataset,path,near\n", is_table_of(COLUMNS, and_more=True)),
        (b'{"schema":1,"dataset":"a, \\"b\\"","path":"c"}\n', is_json_of(("schema", *COLUMNS))),
        (b'{ "schema": 1, "dataset": null, "path": "c" }', is_json_of(("schema", *COLUMNS))),
    ],
)
def test_earlier_results_of_the_same_kind_are_overwritten(
    content: bytes, is_ours: IsOurs, tmp_path: Path
) -> None:
    """Their content tells: who made a page, the columns of a table, the keys of an object."""
    target = tmp_path / "old.html"
    target.write_bytes(content)
    assert check_output_path(target, "--html", PAGE_SUFFIXES, is_ours=is_ours) == target


@pytest.mark.parametrize(
    ("content", "is_ours"),
    [
        (b"<!doctype html>\n<title>My photos</title>", is_page),
        (b"dataset,path\n", is_page),
        (b"rank,score\n", is_table_of(COLUMNS)),
        (b"dataset,path,class\n", is_table_of(COLUMNS)),
        (b"dataset,paths\n", is_table_of(COLUMNS, and_more=True)),
        (PAGE.encode(), is_table_of(COLUMNS)),
        (b'{"schema":1,"query":"a","path":"c"}\n', is_json_of(("schema", *COLUMNS))),
        (b'{"dataset": "path"}', is_json_of(COLUMNS)),
    ],
)
def test_pages_and_tables_of_the_user_are_not_overwritten(
    content: bytes, is_ours: IsOurs, tmp_path: Path
) -> None:
    """Nor are results of another kind: an evaluation never replaces a table of labels."""
    target = tmp_path / "old.csv"
    target.write_bytes(content)
    with pytest.raises(UsageError, match=r"is no result of an earlier run.* and is not replaced"):
        check_output_path(target, "--csv", is_ours=is_ours)


def test_a_model_is_written_over_a_model(tmp_path: Path) -> None:
    """Models of any producer may be replaced; a table may not."""
    target = tmp_path / "old.onnx"
    for maker in ("lookalike", "pytorch", ""):
        value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
        graph = onnx.helper.make_graph([], "g", [value], [value])
        onnx.save(onnx.helper.make_model(graph, producer_name=maker), target)
        assert check_output_path(target, "--output", MODEL_SUFFIXES, is_ours=is_onnx) == target
    target.write_bytes(b"rank,score\n")
    with pytest.raises(UsageError, match="is no result of an earlier run and is not replaced"):
        check_output_path(target, "--output", MODEL_SUFFIXES, is_ours=is_onnx)


def test_results_stay_out_of_a_stores_top_folder(tmp_path: Path) -> None:
    """The folder of locks is refused in any store; folders above and below it are not."""
    (tmp_path / "store" / "c" / "shard").mkdir(parents=True)
    (tmp_path / "store" / "c" / "manifest.json").touch()
    for name in ("c.holder.json", "x.json"):
        with pytest.raises(UsageError, match=r"is in .*store, which holds lookalike.s own files"):
            check_output_path(tmp_path / "store" / name, "--output")
    assert check_output_path(tmp_path / "x.json", "--output") == tmp_path / "x.json"


@pytest.mark.parametrize(
    "folder", ["weights", "models", "models/optimized", "heads", "qdrant/x", "new/c/shard"]
)
def test_results_stay_out_of_the_stores_folders(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders of the home and of any collection are refused, by any path to them."""
    monkeypatch.setenv("LOOKALIKE_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / folder).mkdir(parents=True)
    if folder.startswith("new"):
        (tmp_path / "home" / "new" / "c" / "manifest.json").touch()
    (tmp_path / "way").symlink_to(tmp_path / "home" / folder)
    for path in (tmp_path / "home" / folder / "x.csv", tmp_path / "way" / "new" / "x.csv"):
        with pytest.raises(UsageError, match=r"holds lookalike.s own files"):
            check_output_path(path, "--csv")
    assert check_output_path(tmp_path / "home" / "x.csv", "--csv") == tmp_path / "home" / "x.csv"


def test_results_stay_out_of_store_folders_that_do_not_exist_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a result could block the path of a later model."""
    monkeypatch.setenv("LOOKALIKE_HOME", str(tmp_path / "home"))
    with pytest.raises(UsageError, match=r"holds lookalike.s own files"):
        check_output_path(tmp_path / "home" / "models" / "m.onnx", "--output", MODEL_SUFFIXES)
