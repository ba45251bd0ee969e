"""Certificates are told, and a page's own is taken only with its key."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from node_world import context

from kvorum.cluster.certificates import Pair, make_authority, make_node
from kvorum.cluster.node_files import ensure_node_files, node_fingerprint
from kvorum.core.errors import Conflict, ParameterError
from kvorum.core.paths import Paths
from kvorum.interface import Context
from kvorum.node.certificates import row
from kvorum.node.methods import certificates
from kvorum.node.methods.certificates import Removal, Upload
from kvorum.node.methods.models import NodePath

NOW = datetime.datetime.now(datetime.UTC)


@pytest.fixture
async def ctx(tmp_path: Path) -> Context:
    ctx = context()
    await ensure_node_files(ctx.store, Paths.under(tmp_path), addresses=["192.0.2.5"])
    return ctx


def pair() -> Pair:
    return make_node(make_authority(NOW), "n1", "www.example", ["192.0.2.5"], NOW)


async def test_the_clusters_and_the_nodes_certificates_are_told(ctx: Context) -> None:
    authority, node = await certificates.info(ctx, NodePath(node="n1"))
    assert (authority["filename"], node["filename"]) == ("pve-root-ca.pem", "pve-ssl.pem")
    assert node["fingerprint"] == node_fingerprint(ctx.store, "n1")
    assert "192.0.2.5" in node["san"] and "n1" in node["san"]  # type: ignore[operator]
    assert int(str(node["notbefore"])) < NOW.timestamp() < int(str(node["notafter"]))
    assert node["issuer"] == authority["subject"] and node["public-key-bits"] == 256


async def test_a_page_gets_its_own_certificate_and_loses_it_again(ctx: Context) -> None:
    own = pair()
    upload = Upload(node="n1", certificates=own.certificate.decode(), key=own.key.decode())
    told = await certificates.upload(ctx, upload)
    assert told["filename"] == "pveproxy-ssl.pem" and "www.example" in told["san"]
    assert [each["filename"] for each in await certificates.info(ctx, NodePath(node="n1"))][-1] == (
        "pveproxy-ssl.pem"
    )
    with pytest.raises(Conflict, match="force=1"):
        await certificates.upload(ctx, upload)
    await certificates.upload(ctx, upload.model_copy(update={"force": True}))
    await certificates.remove(ctx, Removal(node="n1"))
    assert ctx.store.read("nodes/n1/pveproxy-ssl.key") is None
    await certificates.remove(ctx, Removal(node="n1"))


@pytest.mark.parametrize(
    ("certificate", "key", "parameter"),
    [("nonsense", None, "certificates"), (None, "nonsense", "key"), (None, "other", "key")],
)
async def test_what_does_not_fit_is_refused_by_name(
    ctx: Context, certificate: str | None, key: str | None, parameter: str
) -> None:
    own = pair()
    wrong_key = pair().key.decode() if key == "other" else key
    wanted = Upload(
        node="n1",
        certificates=certificate or own.certificate.decode(),
        key=wrong_key or own.key.decode(),
    )
    with pytest.raises(ParameterError) as caught:
        await certificates.upload(ctx, wanted)
    assert caught.value.errors.keys() == {parameter}
    assert ctx.store.read("nodes/n1/pveproxy-ssl.pem") is None


def test_a_file_that_is_no_certificate_is_named_all_the_same() -> None:
    assert row("x.pem", b"nonsense") == {"filename": "x.pem", "pem": "nonsense"}
