"""Pages in general: values are escaped, and nothing is requested."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import jinja2
import pytest
from lookalike_search.reports.page import TEMPLATES, Page, csp_hash, environment, sentence
from own_templates import with_own_templates
from page_rules import read_page

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _templates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adds two templates that only tests have."""
    monkeypatch.setattr(environment(), "loader", with_own_templates())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("""'"&<>""", """'"&<>"""),
        ("a\0b\x1b[31mc", r"a\x00b\x1b[31mc"),
        ("half\ud800", r"half\ud800"),
        ("gpj.\u202egnp.exe", r"gpj.\u202egnp.exe"),
        ("\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u200c\u062e"),
    ],
)
def test_names_are_escaped(tmp_path: Path, name: str, expected: str) -> None:
    """Markup, control characters and characters that change the direction of text are escaped."""
    Page("plain.html", name=name).write(tmp_path / "a.html")
    page = read_page(tmp_path / "a.html")
    assert page.problems == []
    assert expected in page.text
    assert [each.attributes["title"] for each in page.elements if "title" in each.attributes] == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no image of it", "No image of it"),
        ("vgg16-cosine holds 1 image", "vgg16-cosine holds 1 image"),
        ("thumbnails: 3 of 9", "Thumbnails: 3 of 9"),
        ("", ""),
    ],
)
def test_a_sentence_begins_with_a_capital_letter_but_not_a_name(text: str, expected: str) -> None:
    """A collection is called as it is."""
    assert sentence(text) == expected


def test_a_failed_page_leaves_the_old_file(tmp_path: Path) -> None:
    """A template that uses an undefined value is an error, and no partial file is left."""
    path = tmp_path / "a.html"
    Page("plain.html", name="whole").write(path)
    with pytest.raises(jinja2.UndefinedError):
        Page("plain.html").write(path)
    assert "whole" in read_page(path).text
    assert list(tmp_path.iterdir()) == [path]


def test_no_script_runs_but_the_pages_own(tmp_path: Path) -> None:
    """The content security policy allows the script by its hash; a page without a script allows none."""
    Page("plain.html", name="x").write(tmp_path / "a.html")
    assert "script-src" not in read_page(tmp_path / "a.html").source
    Page("scripted.html", name="</script><b>").write(tmp_path / "b.html")
    source = read_page(tmp_path / "b.html").source
    script = re.search(r"<script>(.*?)</script>", source, re.DOTALL)
    assert script is not None
    assert f"script-src '{csp_hash(script[1])}'" in source


@pytest.mark.slow  # builds the project
def test_a_built_wheel_holds_templates_and_scripts(tmp_path: Path) -> None:
    """They are not modules, but an installed package needs them."""
    build = "import hatchling.build, sys; print(hatchling.build.build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, tmp_path], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = zipfile.ZipFile(tmp_path / done.stdout.split()[-1]).namelist()
    room = TEMPLATES.parents[1]
    files = [*TEMPLATES.rglob("*.*"), *(room / "serving" / "static").iterdir()]
    wanted = {path.relative_to(room.parent).as_posix() for path in files}
    assert {
        "lookalike_search/reports/templates/base.html",
        "lookalike_search/reports/templates/served/site.html",
        "lookalike_search/serving/static/site.js",
    } <= wanted
    assert wanted <= set(names)
