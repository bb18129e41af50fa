"""Tests the page of `search privacy`: its rules, its images, and its words."""

from pathlib import Path

import pytest
from lookalike_search.analysis.privacy import PrivacyReport
from lookalike_search.reports.privacy import privacy_page
from page_rules import ReadPage, read_page
from privacy_pages import HOSTILE, make_report


@pytest.fixture(scope="module")
def report() -> PrivacyReport:
    """Returns an attack on random images."""
    return make_report()


@pytest.fixture
def page(report: PrivacyReport, tmp_path: Path) -> ReadPage:
    """Returns the page, read again."""
    file = tmp_path / "privacy.html"
    privacy_page(report, seed=7).write(file)
    return read_page(file)


def test_the_page_keeps_the_rules_of_all_pages(page: ReadPage) -> None:
    """It is well-formed, requests nothing, and a class's name is no markup."""
    assert not page.problems
    assert HOSTILE in page.text


def test_originals_stand_beside_their_reconstructions(page: ReadPage, report: PrivacyReport) -> None:
    """Each example has three images, each with a text in its place."""
    images = [each for each in page.elements if each.name == "img"]
    assert len(images) == 3 * len(report.result.examples)
    assert {each.attributes["alt"] for each in images} == {
        "Original, reduced",
        "Reconstruction by kernel ridge",
        "Reconstruction by network",
    }


def test_every_claim_is_about_this_attacker(page: ReadPage) -> None:
    """The page promises nothing about others, and states what was left out."""
    assert "All figures are those of this attacker: a stronger one may see more." in page.text
    assert "cannot be reconstructed" not in page.text
    assert "5 images are left out: gone." in page.text
    assert "2 images with the same bytes as others are left out." in page.text
