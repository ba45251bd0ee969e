import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Cluster


async def test_the_description_is_there_for_anyone(cluster: "Cluster") -> None:
    async with cluster.client.get(f"{cluster.n1.url}/api2/openapi.json") as answer:
        assert answer.headers["Content-Type"] == "application/json;charset=UTF-8"
        found = await answer.json(content_type=None)
    assert found["openapi"].startswith("3.1")
    assert "post" in found["paths"]["/access/ticket"]
    async with cluster.client.post(f"{cluster.n1.url}/api2/openapi.json") as answer:
        assert answer.status == 405


async def test_the_pages_of_the_description_lead_to_each_other_and_need_nothing_else(
    cluster: "Cluster",
) -> None:
    base = f"{cluster.n1.url}/api2/html/"
    async with cluster.client.get(base.rstrip("/")) as answer:
        text = await answer.text()
        assert (answer.status, str(answer.url)) == (200, base)
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    areas = re.findall(r'href="([^"]+)"', text)
    assert {"access", "nodes", "cluster"} <= set(areas)
    for area in areas:
        async with cluster.client.get(base + area) as answer:
            page = await answer.text()
        assert answer.status == 200
        assert set(re.findall(r'(?:href|src)="([^"]+)"', page)) == {"./"}
    for path in ("nothing", "../json/version", "%2e%2e/x"):
        async with cluster.client.get(base + path) as answer:
            assert answer.status in (401, 404, 501)
