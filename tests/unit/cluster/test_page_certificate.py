"""The page's certificate comes along into a cluster, and goes when the admin says so."""

import datetime
from pathlib import Path

import pytest

from kvorum.cluster.certificates import NODE_DAYS, RENEW_DAYS, Pair, make_node
from kvorum.cluster.methods import page
from kvorum.cluster.methods.models import OneNode
from kvorum.cluster.node_files import ensure_node_files, node_fingerprint
from kvorum.cluster.page_certificate import keep_page_certificate, page_certificate, shown, take
from kvorum.core.paths import Paths
from kvorum.interface import Context
from kvorum.server.certificates import Certificates
from kvorum.store import Delete
from kvorum.store.memory import MemoryStore


async def alone(tmp_path: Path) -> MemoryStore:
    store = MemoryStore("n2")
    await ensure_node_files(store, Paths.under(tmp_path), addresses=["10.0.0.2"])
    return store


async def test_browsers_go_on_with_the_certificate_that_they_know_until_the_admin_switches(
    tmp_path: Path,
) -> None:
    before, cluster = await alone(tmp_path), MemoryStore("n2")
    known = node_fingerprint(before, "n2")
    await keep_page_certificate(cluster, page_certificate(before))
    await ensure_node_files(cluster, Paths.under(tmp_path), addresses=["10.0.0.2"])
    assert node_fingerprint(cluster, "n2") == known and shown(cluster, "n2") == "former-ssl"
    certificates = Certificates(cluster)
    assert certificates.page() is not certificates.node()
    assert await take(cluster, "n2", "root@pam")
    assert certificates.page() is certificates.node()
    assert not await take(cluster, "n2", "root@pam") and node_fingerprint(cluster, "n2") != known


async def test_an_admins_own_certificate_stays_the_pages_own(tmp_path: Path) -> None:
    before, cluster = await alone(tmp_path), MemoryStore("n2")
    for end in ("pem", "key"):
        file = before.read(f"nodes/n2/pve-ssl.{end}")
        assert file is not None
        await before.write(f"nodes/n2/pveproxy-ssl.{end}", file.data)
    await keep_page_certificate(cluster, page_certificate(before))
    assert shown(cluster, "n2") == "pveproxy-ssl"
    assert not await take(cluster, "n2", "root@pam"), "it is not ours to take away"


async def test_while_the_store_is_another_and_has_no_certificate_the_page_shows_the_last(
    tmp_path: Path,
) -> None:
    store = await alone(tmp_path)
    certificates = Certificates(store)
    last = certificates.page()
    for end in ("pem", "key"):
        await store.transact([Delete(f"nodes/n2/pve-ssl.{end}")])
    assert certificates.page() is last


async def test_the_page_tells_both_fingerprints(ctx: Context) -> None:
    told = await page.page_certificate(ctx, OneNode(node="n1"))
    assert told["shows"] == "cluster" and told["fingerprint"] == told["cluster_fingerprint"] != ""
    own = ctx.store.read("nodes/n1/pve-ssl.pem"), ctx.store.read("nodes/n1/pve-ssl.key")
    assert own[0] is not None and own[1] is not None
    former = {"page": "former-ssl", "page_pem": own[0].text, "page_key": own[1].text}
    await keep_page_certificate(ctx.store, former)
    assert (await page.page_certificate(ctx, OneNode(node="n1")))["shows"] == "former"
    assert await page.take_certificate(ctx, OneNode(node="n1")) is True


@pytest.mark.parametrize(("days_left", "renewed"), [(RENEW_DAYS - 1, True), (RENEW_DAYS + 2, False)])
async def test_a_certificate_about_to_expire_is_renewed(
    tmp_path: Path, days_left: int, renewed: bool
) -> None:
    store = await alone(tmp_path)
    files = store.read("pve-root-ca.pem"), store.read("priv/pve-root-ca.key")
    assert files[0] is not None and files[1] is not None
    made_at = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=NODE_DAYS - days_left)
    old = make_node(Pair(files[0].data, files[1].data), "n2", "n2", ["10.0.0.2"], made_at)
    await store.write("nodes/n2/pve-ssl.key", old.key)
    await store.write("nodes/n2/pve-ssl.pem", old.certificate)
    await ensure_node_files(store, Paths.under(tmp_path), addresses=["10.0.0.2"])
    now = store.read("nodes/n2/pve-ssl.pem")
    assert now is not None and (now.data != old.certificate) is renewed
