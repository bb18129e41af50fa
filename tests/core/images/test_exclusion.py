"""Exclude patterns work as in git, which is the reference if it is installed."""

import os
import random
import re
import shutil
import subprocess
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pytest
from lookalike_core.errors import UsageError
from lookalike_core.hints import Argument
from lookalike_core.images.decoding import SUFFIXES
from lookalike_core.images.exclusion import DEFAULT_EXCLUDES, Exclusion

FILES = ("x.jpg", "a/x.jpg", "a/y.png", "a/b/x.jpg", "b/a/y.png", "keep/a.jpg", "a/keep/x.jpg", "c/d/b/y.png")


def left_out(*patterns: str, defaults: bool = False) -> set[str]:
    """Returns those of `FILES` that the patterns cover."""
    exclusion = Exclusion(patterns, defaults=defaults)
    return {path for path in FILES if exclusion.covers(path)}


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["a"], {"a/x.jpg", "a/y.png", "a/b/x.jpg", "b/a/y.png", "a/keep/x.jpg"}),
        (["/a"], {"a/x.jpg", "a/y.png", "a/b/x.jpg", "a/keep/x.jpg"}),
        (["x.jpg/"], set()),
        (["*.png"], {"a/y.png", "b/a/y.png", "c/d/b/y.png"}),
        (["a/*"], {"a/x.jpg", "a/y.png", "a/b/x.jpg", "a/keep/x.jpg"}),
        (["a/*", "!a/keep/"], {"a/x.jpg", "a/y.png", "a/b/x.jpg"}),
        (["a", "!a/keep/"], {"a/x.jpg", "a/y.png", "a/b/x.jpg", "b/a/y.png", "a/keep/x.jpg"}),
        (["**/b"], {"a/b/x.jpg", "b/a/y.png", "c/d/b/y.png"}),
        (["c/**/y.png"], {"c/d/b/y.png"}),
        (["*", "!*/", "!*.jpg"], {"a/y.png", "b/a/y.png", "c/d/b/y.png"}),
        (["!*.png", "b"], {"a/b/x.jpg", "b/a/y.png", "c/d/b/y.png"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_patterns_follow_gitignores_rules(patterns: list[str], expected: set[str]) -> None:
    """Patterns for names, root-relative paths and folders, and re-inclusion by later patterns."""
    assert left_out(*patterns) == expected


# fmt: off
PATTERNS = [
    "a", "/a", "a/", "a/b", "a/**", "**/b", "*.jpg", "!x.jpg", "!a/", "!a", "/a/*", "!/a/keep/", "rej",
    "!rej/keep", "*", "!*/", "!*.jpg", "a/*.jpg", "[ab]/", "b/*/x.jpg", "!/b", "a/**/y.png", "/*", "\\!a",
    "x?jpg", "**/a/**", "!**/keep/",
]
# fmt: on


@pytest.mark.skipif(shutil.which("git") is None, reason="git is the judge")
def test_exclusion_agrees_with_git(tmp_path: Path) -> None:
    """Random files and up to four patterns of all kinds, fifty times, give git's result."""
    chance = random.Random(7)  # noqa: S311 - no secret
    for number in range(50):
        root, patterns = tmp_path / str(number), chance.choices(PATTERNS, k=chance.randint(1, 4))
        files = {
            "/".join([*chance.choices(["a", "b", "rej", "keep"], k=depth), chance.choice(["x.jpg", "y.png"])])
            for depth in chance.choices(range(4), k=12)
        }
        kept = kept_by_git(root, files, patterns)
        exclusion = Exclusion(patterns, defaults=False)
        assert {path for path in files if not exclusion.covers(path)} == kept, patterns


# fmt: off
PIECES = [
    "a", "b", "IMG", "x", "*", "?", "**", "/", "[ab]", "[!a]", "[^b]", "[!0-9]", "[]a]", "[!]b]", "[a-]",
    "[--0]", "[[a]", "[[:digit:]]", "[![:alpha:]_]", "[a&&b]", "[a-b-x]", "[\\]]", "[\\a-b]", "[a/]", "\\*",
    "\\[", ".jpg",
]
NAMES = ["a", "b", "ab", "IMG", "IMG1", "x", "xy", "-", "]", "[", "a.jpg", "b1.jpg", "xa.jpg", "&", "a*b"]
# fmt: on


@pytest.mark.skipif(shutil.which("git") is None, reason="git is the judge")
def test_character_sets_match_as_in_git(tmp_path: Path) -> None:
    """No set matches the slash after a folder's name; patterns are random."""
    chance = random.Random(11)  # noqa: S311 - no secret
    patterns, files = ["IMG[!0-9]", "x[!y]", "[[ab]"], set()
    while len(patterns) < 150:
        pattern = "".join(chance.choices(PIECES, k=chance.randint(2, 4)))
        if not pattern.startswith("#"):
            patterns.append(pattern)
    for depth in range(1, 4):
        files |= {"/".join(chance.choices(NAMES, k=depth)) for _ in range(25)}
    files = {path for path in files if not any(other.startswith(f"{path}/") for other in files)}
    for number, pattern in enumerate(patterns):
        try:
            exclusion = Exclusion([pattern], defaults=False)
        except UsageError:
            assert kept_by_git(tmp_path / str(number), files, [pattern]) == files, pattern
            continue
        kept = kept_by_git(tmp_path / str(number), files, [pattern])
        assert {path for path in files if not exclusion.covers(path)} == kept, pattern


def test_patterns_of_many_stars_do_not_backtrack() -> None:
    """With backtracking, matching would take years."""
    exclusion = Exclusion(["*".join("a" * 40) + "b", "*[ab]?" * 30 + "c"])
    assert not exclusion.covers("a" * 250)
    assert exclusion.covers("a" * 249 + "b")


def test_no_pattern_makes_python_warn() -> None:
    """Python warns of sets that may change their meaning; the tests turn warnings into errors."""
    for pattern in ("[[ab]", "[+--a]", "[a&&b]", "[a||b]", "[a~~b]"):
        re.purge()
        assert Exclusion([pattern]).covers("a")


def kept_by_git(root: Path, files: set[str], patterns: Sequence[str]) -> set[str]:
    """Returns the files that a git repository with these patterns would track."""
    for path in files:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    environment = os.environ | {"HOME": str(root), "GIT_CONFIG_NOSYSTEM": "1", "GIT_CEILING_DIRECTORIES": "/"}
    git = [str(shutil.which("git")), "-C", str(root)]
    subprocess.run([*git, "init", "--quiet"], check=True, env=environment)
    (root / ".git" / "info").mkdir(exist_ok=True)
    (root / ".git" / "info" / "exclude").write_text("\n".join(patterns) + "\n")
    listing = [*git, "ls-files", "-z", "--others", "--exclude-standard"]
    done = subprocess.run(listing, check=True, env=environment, capture_output=True, text=True)
    return set(done.stdout.split("\0")) - {""}


@pytest.mark.parametrize(
    "path",
    [
        "2023/@eaDir/IMG.jpg/SYNOPHOTO_THUMB_M.jpg",
        "#recycle/1.jpg",
        ".@__thumb/1.jpg",
        "@Recycle/1.jpg",
        "a/#snapshot/1.jpg",
        ".snapshot/1.jpg",
        "$RECYCLE.BIN/S-1-5/1.jpg",
        ".Trash-1000/files/1.jpg",
        ".Trashes/501/1.jpg",
        "__MACOSX/a/1.jpg",
        "a/._1.jpg",
        ".AppleDouble/1.jpg",
        ".thumbnails/1.jpg",
        ".cache/1.jpg",
        "Lightroom Catalog Previews.lrdata/1.jpg",
        ".git/1.jpg",
        "System Volume Information/1.jpg",
        "lost+found/1.jpg",
        "FOUND.000/1.jpg",
    ],
)
def test_system_folders_are_excluded_by_default(path: str) -> None:
    """They are excluded together with patterns, unless switched off; a pattern re-includes one by name."""
    assert Exclusion().covers(path)
    assert Exclusion(["other"]).covers(path)
    assert not Exclusion(defaults=False).covers(path)
    assert not Exclusion([f"!{name}" for name in path.split("/")]).covers(path)


@pytest.mark.parametrize("path", ["recycle/1.jpg", "cache/1.jpg", "thumbnails/1.jpg", "snapshot/1.jpg"])
def test_ordinary_folder_names_are_not_excluded(path: str) -> None:
    """They may be names of classes."""
    assert not Exclusion().covers(path)


def test_no_default_exclude_matches_a_visible_image_name() -> None:
    """So only hidden images have to be tested against the default excludes."""
    assert not [name for name in DEFAULT_EXCLUDES[1:] if name.lower().endswith(tuple(SUFFIXES))]
    assert DEFAULT_EXCLUDES[0] == ".*"


def test_patterns_match_names_in_every_unicode_form() -> None:
    """Keyboards compose characters that macOS stores decomposed."""
    for typed, stored in (("NFC", "NFD"), ("NFD", "NFC")):
        pattern, folder = (unicodedata.normalize(form, "Cafés") for form in (typed, stored))
        assert Exclusion([pattern]).covers(f"{folder}/1.jpg")


@pytest.mark.parametrize(
    "pattern",
    ["", "  ", "#recycle", "/", "a[", "[z-a]", "ends in \\", "!", "[!]", "a[[:digits:]]", "[\\]", "\0"],
)
def test_a_pattern_that_cannot_match_is_refused(pattern: str) -> None:
    """The pattern is refused rather than ignored."""
    with pytest.raises(UsageError, match="gitignore") as caught:
        Exclusion([pattern])
    assert caught.value.argument is Argument.EXCLUDE
