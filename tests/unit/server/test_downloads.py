"""Files that a node has, as they come to a client: a task's log, a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kvorum.tasks import TaskRunner

if TYPE_CHECKING:
    from conftest import Cluster


async def logged(cluster: Cluster, headers: dict[str, str]) -> str:
    """A task of n2 that has ended."""
    async with cluster.client.post(f"{cluster.n1.url}/api2/json/nodes/n2/work", headers=headers) as answer:
        upid = str((await answer.json())["data"])
    await cluster.n2.services.get(TaskRunner).wait(upid, 5)
    return upid


@pytest.mark.parametrize("flavour", ["json", "extjs"])
async def test_a_tasks_log_comes_as_a_file_from_another_node(cluster: Cluster, flavour: str) -> None:
    headers = await cluster.login()
    upid = await logged(cluster, headers)
    url = f"{cluster.n1.url}/api2/{flavour}/nodes/n2/tasks/{upid}/log"
    async with cluster.client.get(f"{url}?download=1", headers=headers) as answer:
        assert answer.status == 200 and await answer.text() == "hello\nTASK OK\n"
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert answer.headers["Content-Disposition"].startswith('attachment; filename="task-n2-qmstart-')
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_long_log_is_streamed_whole(cluster: Cluster) -> None:
    headers = await cluster.login()
    upid = await logged(cluster, headers)
    log = next(cluster.n2.paths.log.glob("tasks/?/UPID*"))
    with log.open("a") as file:
        file.writelines(f"line {number}\n" for number in range(200_000))
    url = f"{cluster.n1.url}/api2/json/nodes/n2/tasks/{upid}/log?download=1"
    async with cluster.client.get(url, headers=headers) as answer:
        assert await answer.read() == log.read_bytes()


async def test_a_download_is_the_whole_log_of_a_task_that_there_is(cluster: Cluster) -> None:
    headers = await cluster.login()
    upid = await logged(cluster, headers)
    url = f"{cluster.n1.url}/api2/json/nodes/n2/tasks/{upid}/log?download=1"
    async with cluster.client.get(f"{url}&start=1", headers=headers) as answer:
        assert answer.status == 400 and list((await answer.json())["errors"]) == ["start"]
    async with cluster.client.get(url.replace("qmstart", "qmstop"), headers=headers) as answer:
        assert answer.status == 500 and "no such task" in answer.reason
    async with cluster.client.get(url) as answer:
        assert answer.status == 401


async def test_a_picture_is_seen_in_its_own_format_and_named_in_the_others(
    cluster: Cluster, tmp_path: Path
) -> None:
    headers, file = await cluster.login(), tmp_path / "x.png"
    file.write_bytes(b"\x89PNG")
    base = f"{cluster.n1.url}/api2"
    question = f"nodes/n2/picture?path={file}"
    async with cluster.client.get(f"{base}/png/{question}", headers=headers) as answer:
        assert answer.status == 200 and await answer.read() == b"\x89PNG"
        assert answer.headers["Content-Type"] == "image/png"
        assert answer.headers["Content-Disposition"] == 'inline; filename="a__b___.png"'
    async with cluster.client.get(f"{base}/json/{question}", headers=headers) as answer:
        assert await answer.json() == {"data": {"filename": str(file)}}


@pytest.mark.parametrize("node", ["n1", "n2"])
async def test_what_has_no_picture_is_refused_as_one_before_it_is_carried_out(
    cluster: Cluster, node: str
) -> None:
    headers = await cluster.login()
    base = f"{cluster.n1.url}/api2"
    for verb, name in (("GET", "echo"), ("GET", "refuse"), ("POST", "work")):
        async with cluster.client.request(verb, f"{base}/png/nodes/{node}/{name}", headers=headers) as answer:
            assert answer.status == 501 and "no picture: use /api2/json" in answer.reason
    async with cluster.client.get(f"{base}/json/nodes/{node}/tasks", headers=headers) as answer:
        assert (await answer.json())["data"] == []
