from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Cluster


async def test_every_view_is_the_page_and_hashed_files_are_kept_for_good(cluster: "Cluster") -> None:
    for path in ("/", "/nodes/n1", "/?x=1"):
        async with cluster.client.get(cluster.n1.url + path) as answer:
            assert (answer.status, await answer.text()) == (200, "<!doctype html>page")
            assert answer.headers["Cache-Control"] == "no-cache"
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy and "unsafe" not in policy
    async with cluster.client.get(f"{cluster.n1.url}/assets/index-AbCd1234.js") as answer:
        assert "immutable" in answer.headers["Cache-Control"]


@pytest.mark.parametrize(
    "path", ["/../secret", "/%2e%2e/secret", "/assets/..%2f..%2fsecret", "//secret", "/%00"]
)
async def test_nothing_outside_the_page_is_served(cluster: "Cluster", path: str) -> None:
    from yarl import URL

    async with cluster.client.get(URL(cluster.n1.url + path, encoded=True)) as answer:
        assert "secret" not in (await answer.text()).replace("no such file", "")


async def test_a_missing_asset_is_404_and_only_get_is_answered(cluster: "Cluster") -> None:
    async with cluster.client.get(f"{cluster.n1.url}/assets/x-12345678.js") as answer:
        assert answer.status == 404
    async with cluster.client.post(f"{cluster.n1.url}/") as answer:
        assert answer.status == 405
