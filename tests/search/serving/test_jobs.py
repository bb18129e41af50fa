"""Jobs: what takes long runs beside the queries, and can be ended."""

import asyncio
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from json_shape import find_differences
from lookalike_core.errors import UsageError
from lookalike_search.commands.job_commands import job_words
from lookalike_search.serving import jobs as jobs_module
from lookalike_search.serving.jobs import Job, JobKind, JobRecord, Jobs
from lookalike_search.serving.problems import RefusedError
from lookalike_search.serving.query_fields import Fields
from served import wait_for_job

JOBS = "/api/v1/jobs"


def wait_for_end(client: Any, address: str) -> dict[str, Any]:
    """Returns a job once it has ended."""
    job: dict[str, Any] = wait_for_job(client, address)
    assert list(find_differences(job | {"result": None}, (JobRecord,))) == []
    return job


def test_an_evaluation_is_what_the_command_prints(album: Any, client: Any) -> None:
    """The address of a job tells that it runs, and later its result."""
    started = client.post(f"{JOBS}/evaluation", json={"k": 3})
    assert started.status_code == 202, started.text
    address = started.headers["location"]
    assert started.json()["state"] in ("waiting", "running")
    assert client.post("/api/v1/query", json={"path": "cat/1.png"}).status_code == 200
    job = wait_for_end(client, address)
    assert job["state"] == "done", job
    printed = album("search", "evaluate", "--k", "3", "--json").json
    assert [each | {"store": ""} for each in job["result"]] == [each | {"store": ""} for each in printed]
    assert job["id"] in [each["id"] for each in client.get(JOBS).json()["jobs"]]
    assert client.delete(address).json()["state"] == "done"
    assert client.get(address).status_code == 404


def test_an_explanation_is_of_two_indexed_images(album: Any, client: Any) -> None:
    """By their ids; a path, of which there might be a file, is refused."""
    first, second = (
        hit["id"] for hit in client.post("/api/v1/query", json={"path": "cat/1.png"}).json()["hits"][:2]
    )
    started = client.post(f"{JOBS}/explanation", json={"query": first, "neighbour": second})
    job = wait_for_end(client, started.headers["location"])
    printed = album("search", "explain", first, second, "--json").json
    assert [each | {"store": ""} for each in job["result"]] == [each | {"store": ""} for each in printed]
    for wrong in ("cat/1.png", "/etc/passwd", "-", "", first.upper()):
        refused = client.post(f"{JOBS}/explanation", json={"query": first, "neighbour": wrong})
        assert (refused.status_code, refused.json()["argument"]) == (400, "neighbour")


def test_a_part_of_an_image_is_explained_by_a_job(album: Any, client: Any) -> None:
    """As by the command; a region is text or four numbers."""
    first, second = (
        hit["id"] for hit in client.post("/api/v1/query", json={"path": "cat/1.png"}).json()["hits"][:2]
    )
    asked = {"query": first, "neighbour": second, "region": [12, 8, 40, 30]}
    job = wait_for_end(client, client.post(f"{JOBS}/explanation", json=asked).headers["location"])
    assert job["result"][0]["region"] == {"x": 12, "y": 8, "width": 40, "height": 30}
    refused = client.post(f"{JOBS}/explanation", json=asked | {"region": "1,2"})
    assert (refused.status_code, refused.json()["argument"]) == (400, "region")


def test_a_map_tells_the_place_of_each_image(client: Any) -> None:
    """With what names it; no page is drawn, so that no file is read."""
    job = wait_for_end(client, client.post(f"{JOBS}/map", json={"seed": 3}).headers["location"])
    [drawn] = job["result"]
    assert (drawn["html"], drawn["total"], len(drawn["places"])) == (None, 16, 16)
    listed = client.get("/api/v1/images", params={"limit": 500}).json()["images"]
    named = [{key: each[key] for key in ("id", "class", "dataset", "path")} for each in listed]
    assert [{key: each[key] for key in named[0]} for each in drawn["places"]] == named
    assert all(isinstance(each[axis], float) for each in drawn["places"] for axis in "xy")
    assert 'lookalike_job_seconds_count{kind="map",state="done"} 1.0' in client.get("/metrics").text


def test_a_job_that_fails_says_why(client: Any) -> None:
    """With the code of the exit code."""
    started = client.post(f"{JOBS}/map", json={"collection": "vgg16-none"})
    job = wait_for_end(client, started.headers["location"])
    assert (job["state"], job["result"], job["problem"]["code"]) == ("failed", None, "collection")
    assert "vgg16-none" in job["problem"]["detail"]


def test_wrong_fields_and_kinds_are_refused(client: Any) -> None:
    """Before a process is started."""
    assert client.post(f"{JOBS}/evaluation", json={"k": 0}).json()["argument"] == "k"
    assert client.post(f"{JOBS}/map", json={"k": 3}).json()["argument"] == "k"
    assert client.post(f"{JOBS}/nothing").status_code == 404
    assert client.get(f"{JOBS}/evaluation").status_code == 404
    assert client.delete(f"{JOBS}/0123").status_code == 404


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such command")
def test_jobs_wait_for_their_turn_and_can_be_ended() -> None:
    """Too many are sent away; an ended one gives its turn to the next."""

    async def main() -> None:
        jobs = Jobs(lambda _kind, _fields: ("sleep", "60"), shows_files=True)
        started = [jobs.start("duplicates", Fields({}, is_text=False)) for _ in range(8)]
        with pytest.raises(RefusedError, match="are waiting"):
            jobs.start("duplicates", Fields({}, is_text=False))
        await wait_for_state(started[0], "running")
        assert started[1].state == "waiting"
        assert (await jobs.cancel(started[0].id)).state == "cancelled"
        await wait_for_state(started[1], "running")
        assert (await jobs.cancel(started[2].id)).state == "cancelled"
        await jobs.close()
        assert {job.state for job in started} == {"cancelled"}

    asyncio.run(asyncio.wait_for(main(), 120))


async def wait_for_state(job: Job, *states: str) -> None:
    """Waits until a job is in one of these states, and what follows from it is done."""
    while job.state not in states:  # noqa: ASYNC110 - a job has no event
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)


def run_job(program: str, *, shows_files: bool = True) -> dict[str, Any]:
    """Returns the job of a program in Python once it has ended; no part of its JSON is large."""

    async def main() -> dict[str, Any]:
        jobs = Jobs(lambda _kind, _fields: (sys.executable, "-c", program), shows_files=shows_files)
        job = jobs.start("map", Fields({}, is_text=False))
        await wait_for_state(job, "done", "failed")
        body = b""
        for part in job.body():
            assert len(part) < 2**20
            body += part
        record: dict[str, Any] = json.loads(body)
        return record

    return asyncio.run(asyncio.wait_for(main(), 120))


def test_a_large_result_stops_nothing_else() -> None:
    """It is passed on as it was printed, in parts; to read and write it would take half a second."""
    job = run_job("import json; print(json.dumps({'places': [{'id': 'x' * 100}] * 200_000}))")
    assert (job["state"], len(job["result"][0]["places"])) == ("done", 200_000)


def test_a_result_names_no_files_beyond_this_machine() -> None:
    """Whatever texts it holds; what looks like a path in a name stays."""
    record = {
        "store": "embedded:/home/anna",
        "html": None,
        "groups": [{"file": '/home/anna/"file": "a\\.png', "path": '"file": "x"'}, {"file": None}],
    }
    program = f"import json; print(json.dumps({record!r})); print(json.dumps({{'file': 'x'}}))"
    assert run_job(program)["result"] == [record, {"file": "x"}]
    without = {"store": "embedded", "html": None, "groups": [{"file": None, "path": '"file": "x"'}] * 1}
    found = run_job(program, shows_files=False)["result"]
    assert found == [without | {"groups": [without["groups"][0], {"file": None}]}, {"file": None}]


@pytest.mark.parametrize(
    "said",
    ["store: embedded:/srv/store", "store: embedded:stores/mine", "in /srv/x", "file:/srv/x", "at=C:\\\\x"],
)
def test_progress_names_no_place(said: str) -> None:
    """The first line of each command names its store; a server's address is no path."""
    shown = "store: https://qdrant.example:6333"
    for line, expected in ((said, None), (shown, shown)):
        program = f"import sys; print({line!r}, file=sys.stderr)"
        assert run_job(program, shows_files=False)["progress"] == expected


def test_a_job_whose_result_cannot_be_read_fails() -> None:
    """It does not seem to run for ever."""
    job = run_job(f"print('x' * {2**26 + 10})")
    assert (job["state"], job["problem"]["code"]) == ("failed", "failed")


def test_results_are_forgotten_beyond_their_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest first; jobs that wait or run stay."""
    monkeypatch.setattr(jobs_module, "MOST_BYTES", 300)

    async def main() -> None:
        command = (sys.executable, "-c", "print('x' * 200)")
        jobs = Jobs(lambda _kind, _fields: command, shows_files=True)
        first, second = (jobs.start("map", Fields({}, is_text=False)) for _ in range(2))
        await wait_for_state(second, "done")
        assert jobs.get(second.id) is second
        with pytest.raises(RefusedError):
            jobs.get(first.id)

    asyncio.run(asyncio.wait_for(main(), 120))


def test_a_job_says_each_second_how_far_it_is(tmp_path: Path) -> None:
    """Where a command in a pipe does so each half a minute."""
    program = (
        "import time, lookalike_search.commands.app as commands\n"
        "from lookalike_core import progress\n"
        "def work(**_):\n"
        "    with progress.bar('working', unit='images', total=3) as bar:\n"
        "        for _ in range(3):\n"
        "            time.sleep(0.6)\n"
        "            bar.advance(1)\n"
        "commands.app = work\n"
        "from lookalike_search.commands.job_process import main\n"
        "main()\n"
    )
    assert re.match("working: [123] of 3 images", str(run_job(program)["progress"]))


def test_a_name_in_a_field_is_never_an_option() -> None:
    """It is the value of one, whatever it begins with."""
    words = job_words(
        JobKind.EVALUATION, Fields.of_json({"collection": "--html=x", "dataset": "-"}), default="vgg16-cosine"
    )
    assert words[:4] == ["evaluate", "--json", "--collection=--html=x", "--dataset=-"]
    flags = Fields.of_json({"without_near": True, "seed": 3})
    assert job_words(JobKind.EVALUATION, flags, default="a")[-2:] == ["--seed=3", "--without-near"]
    with pytest.raises(UsageError, match="limit is unknown"):
        job_words(JobKind.DUPLICATES, Fields.of_json({"limit": 3}), default="a")
