"""Tests the progress of jobs in a real browser, with a script and without."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from browser import OpenPage, follow_to
from served import Served, wait_for_job

pytestmark = pytest.mark.slow

LookAt = Callable[..., OpenPage]


@pytest.fixture(autouse=True)
def _no_jobs_are_left(served: Served) -> None:
    with served.client() as client:
        for job in client.get("/api/v1/jobs").json()["jobs"]:
            client.delete(f"/api/v1/jobs/{job['id']}")


def test_a_job_is_started_followed_and_shown(served: Served, look_at: LookAt) -> None:
    """The page stays the same document; axe-core finds nothing wrong while the job runs."""
    seen = look_at(f"{served.url}/map")
    seen.run("window.isSameDocument = true")
    seen.tab.click("text=Make the map")
    seen.tab.wait_for_selector("[data-job] progress")
    assert seen.violations() == []
    seen.tab.wait_for_selector("[data-job]", state="detached")
    assert not seen.tab.is_visible("text=Make the map")
    assert seen.run("window.isSameDocument")
    assert seen.logged == []


def test_a_job_is_cancelled(hanging: Served, look_at: LookAt) -> None:
    """The view is as before, and the server has no job any more."""
    before = httpx.get(f"{hanging.url}/api/v1/jobs").json()["jobs"]
    seen = look_at(f"{hanging.url}/map")
    seen.tab.click("text=Make the map")
    seen.tab.click("text=Cancel")
    seen.tab.wait_for_selector("text=Make the map")
    assert httpx.get(f"{hanging.url}/api/v1/jobs").json()["jobs"] == before


def test_jobs_need_no_script(hanging: Served, chromium: Any) -> None:
    """Forms start and cancel them, and a link shows how far they are."""
    tab = chromium.new_context(java_script_enabled=False).new_page()
    tab.goto(f"{hanging.url}/map")
    follow_to(tab, "text=Make the map")
    started = tab.url
    assert started.startswith(f"{hanging.url}/map?collection=")
    follow_to(tab, ".job noscript a")
    assert tab.url == started
    tab.click("text=Cancel")
    tab.wait_for_selector("text=Make the map")
    tab.context.close()


def test_a_map_without_a_script_is_its_classes(served: Served, chromium: Any) -> None:
    """Which lead to their images; what only a script can do is not offered."""
    with served.client() as client:
        job = client.post("/api/v1/jobs/map", json={"limit": 500}).headers["location"]
        wait_for_job(client, job)
    tab = chromium.new_context(java_script_enabled=False).new_page()
    tab.goto(f"{served.url}/map?limit=500")
    assert tab.is_visible("[data-stage] .without")
    assert not tab.is_visible("[data-do=in]")
    assert not tab.is_visible("[data-show=all]")
    follow_to(tab, ".legend li a >> nth=0")
    assert tab.locator(".tile").count() == 8
    tab.context.close()
