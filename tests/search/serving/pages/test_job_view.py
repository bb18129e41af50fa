"""The jobs behind views: started and cancelled by forms, and never by looking."""

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from lookalike_search.reports.page import environment
from lookalike_search.serving.jobs import Job, JobKind, Jobs, JobState
from lookalike_search.serving.pages.job_view import view_job
from lookalike_search.serving.problems import problem_of_exit_code
from lookalike_search.serving.query_fields import Fields
from served import hanging_command, wait_for_job

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def words(kind: JobKind, fields: Fields) -> Sequence[str]:
    """Returns the command of a job that takes a minute."""
    collection = fields.text("collection") or "default"
    fields.require_all_read()
    return ("sh", "-c", "exec sleep 60", kind, collection)


def send(client: Any, address: str, do: str) -> Any:
    """Sends a form as a browser does without a script."""
    return client.post(address, content=f"do={do}", headers=FORM)


@pytest.fixture(scope="module")
def hanging(album: Any, start_serving: Callable[..., Any]) -> Iterator[Any]:
    """Returns a client of a server whose jobs run until they are cancelled."""
    with start_serving(album.folder / "home", job_command=hanging_command) as one, one.client() as client:
        yield client


def test_a_form_starts_a_job_once_and_cancels_it(hanging: Any) -> None:
    """Both lead back to the view; looking at it starts nothing."""
    client = hanging
    assert "Make the map" in client.get("/map").text
    assert client.get("/api/v1/jobs").json()["jobs"] == []
    for _ in range(2):
        started = send(client, "/map", "start")
        assert (started.status_code, started.headers["location"]) == (303, "/map")
    [job] = client.get("/api/v1/jobs").json()["jobs"]
    assert job["kind"] == "map"
    shown = client.get("/map").text
    assert f'data-job="{job["id"]}"' in shown
    assert "Make the map" not in shown
    assert send(client, "/map", "cancel").status_code == 303
    assert client.get("/api/v1/jobs").json()["jobs"] == []


@pytest.mark.parametrize(
    ("address", "form", "shown"),
    [
        ("/evaluation", "k=3&near_above=&without_near=true", "/evaluation?k=3&without_near=true"),
        ("/duplicates?above=0.5", "above=0.97", "/duplicates?above=0.97"),
        ("/map?limit=500", "limit=", "/map"),
    ],
)
def test_a_form_starts_the_job_of_the_options_that_it_shows(
    hanging: Any, address: str, form: str, shown: str
) -> None:
    """They take the place of those in the address; there is no other button that has to be pressed first."""
    client = hanging
    page = client.get(address).text
    assert page.count("<button") == 1
    started = client.post(address, content=f"{form}&do=start", headers=FORM)
    assert (started.status_code, started.headers["location"]) == (303, shown)
    [job] = client.get("/api/v1/jobs").json()["jobs"]
    assert f'data-job="{job["id"]}"' in client.get(shown).text
    assert "data-job" not in client.get("/evaluation?k=7").text
    assert client.post(shown, content="do=cancel", headers=FORM).status_code == 303
    assert client.get("/api/v1/jobs").json()["jobs"] == []


def test_wrong_options_of_a_form_are_refused(client: Any) -> None:
    """They start nothing."""
    for form in ("k=0", "k=x", "what=1"):
        assert client.post("/evaluation", content=f"{form}&do=start", headers=FORM).status_code == 400
    assert client.get("/api/v1/jobs").json()["jobs"] == []


def test_a_form_from_elsewhere_or_with_other_words_is_refused(client: Any) -> None:
    """The first by its origin, the second as wrong usage."""
    assert send(client, "/map", "delete").status_code == 400
    assert send(client, "/map?collection=none", "start").status_code == 404
    foreign = client.post("/map", content="do=start", headers={**FORM, "Origin": "null"})
    assert foreign.status_code == 403
    assert client.get("/api/v1/jobs").json()["jobs"] == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such command")
def test_a_view_shows_the_last_result_beside_a_job_under_way() -> None:
    """Of the same kind and fields only; a failed one is told until the next is started."""

    async def main() -> None:
        jobs = Jobs(words, shows_files=True)
        assert (await view_job(jobs, JobKind.MAP, {})).under_way is None
        first = end(jobs.start("map", Fields({}, is_text=True)), JobState.DONE)
        first.lines = [b'{"schema": 1}']
        failed = end(jobs.start("map", Fields({}, is_text=True)), JobState.FAILED)
        failed.problem = problem_of_exit_code(5, "the store is away")
        jobs.start("duplicates", Fields({}, is_text=True))
        jobs.start("map", Fields({"collection": ["other"]}, is_text=True))
        seen = await view_job(jobs, JobKind.MAP, {})
        assert (seen.under_way, seen.result, seen.problem) == (None, [{"schema": 1}], failed.problem)
        again = jobs.start("map", Fields({}, is_text=True))
        again.progress = "thumbnails: 30 of 120 images, 3.0 images/s, 30 s left"
        seen = await view_job(jobs, JobKind.MAP, {})
        assert seen.under_way is not None
        assert (seen.under_way.share, seen.under_way.is_waiting) == (0.25, True)
        assert (seen.done, seen.problem) == (first, None)
        again.progress = "store: embedded:/folder"
        seen = await view_job(jobs, JobKind.MAP, {})
        assert seen.under_way is not None
        assert (seen.under_way.text, seen.under_way.share) == ("", None)
        await jobs.close()

    asyncio.run(asyncio.wait_for(main(), 120))


def test_a_result_is_outdated_once_its_collection_was_written_to() -> None:
    """As far as the store knows; a version is that of the job's own collection."""
    versions = {"a": "1", None: "1"}

    async def main() -> None:
        jobs = Jobs(words, shows_files=True, version_of=versions.__getitem__)
        job = jobs.start("map", Fields({"collection": ["a"]}, is_text=True))
        while not job.version:  # noqa: ASYNC110 - a job has no event
            await asyncio.sleep(0.01)
        for version, is_outdated in (("1", False), ("2", True), ("", False)):
            versions["a"] = version
            assert await jobs.is_outdated(job) is is_outdated
        await jobs.close()

    asyncio.run(asyncio.wait_for(main(), 120))


def end(job: Job, state: JobState) -> Job:
    """Returns a job that has ended, as its process would have ended it."""
    job.state = state
    return job


def test_what_a_job_says_is_escaped() -> None:
    """It may hold names of files and classes."""
    template = environment().from_string(
        '{% from "served/job.html" import job_panel %}{{ job_panel(job, address, "it was made", "Again") }}'
    )
    problem = problem_of_exit_code(1, "no <b>\u202ename")
    html = template.render(job={"under_way": None, "problem": problem}, address="/map?a=<b>")
    assert "<b>" not in html
    assert "\u202e" not in html


def test_an_outdated_result_is_said_to_be_so() -> None:
    """With a button that makes it anew; not while that is under way."""
    template = environment().from_string(
        '{% from "served/job.html" import job_panel %}{{ job_panel(job, "/map", "it was made", "Again") }}'
    )
    job = {"under_way": None, "problem": None, "is_outdated": True}
    html = template.render(job=job)
    assert "The collection was written to since it was made" in html
    assert '<button name="do" value="again">Again</button>' in html
    assert template.render(job=job | {"is_outdated": False}).strip() == ""
    running = {"id": "1", "is_waiting": True, "text": "", "share": None}
    assert "was written to" not in template.render(job=job | {"under_way": running})


def test_a_job_that_ends_is_shown_by_its_view(client: Any) -> None:
    """The map of a real collection is made, and found by whoever looks."""
    send(client, "/map", "start")
    [job] = client.get("/api/v1/jobs").json()["jobs"]
    wait_for_job(client, f"/api/v1/jobs/{job['id']}")
    shown = client.get("/map").text
    assert "Make the map" not in shown
    assert 'class="card problem"' not in shown
    assert "was written to" not in shown
    made = client.get("/api/v1/jobs").json()["jobs"]
    assert send(client, "/map", "start").status_code == 303  # which leads to the map that is there
    assert client.get("/api/v1/jobs").json()["jobs"] == made
    assert "Make it anew" in client.get("/map").text
    assert send(client, "/map", "again").status_code == 303
    assert len(client.get("/api/v1/jobs").json()["jobs"]) == len(made) + 1
    send(client, "/map", "cancel")
