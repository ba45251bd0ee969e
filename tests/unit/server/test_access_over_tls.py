"""Users, tokens and second factors through pveproxy and pvedaemon, as clients use them."""

import asyncio
import json
import time
from typing import TYPE_CHECKING

import pyotp
import pytest
from proxmoxer import ProxmoxAPI
from proxmoxer.core import ResourceException

pytestmark = [
    pytest.mark.slow,
    # proxmoxer says once for all that these are not to be shown; what other tests undo would undo that.
    pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning"),
]

if TYPE_CHECKING:
    from conftest import Cluster


async def call(
    cluster: "Cluster", verb: str, path: str, headers: dict[str, str], /, **form: object
) -> object:
    """A call of the API at n1; raises with the reason phrase when it is refused."""
    url = f"{cluster.n1.url}/api2/json{path}"
    data = {name.replace("__", "-"): str(value) for name, value in form.items()}
    sent = {"params": data} if verb in ("GET", "DELETE") else {"data": data}
    async with cluster.client.request(verb, url, headers=headers, **sent) as answer:  # type: ignore[arg-type]
        assert answer.status == 200, f"{answer.status} {answer.reason} {await answer.text()}"
        return (await answer.json())["data"]


async def share_users(cluster: "Cluster") -> None:
    """Copy what n1's store has to n2's: both are stores of their own here."""
    for path in ("user.cfg", "priv/token.cfg", "priv/shadow.cfg"):
        if (file := cluster.n1.store.read(path)) is not None:
            await cluster.n2.store.write(path, file.data)


async def test_a_token_is_verified_behind_the_proxy_and_on_other_nodes(cluster: "Cluster") -> None:
    root = await cluster.login()
    await call(cluster, "POST", "/access/users", root, userid="ci@pve")
    made = await call(cluster, "POST", "/access/users/ci@pve/token/t1", root, privsep=0)
    assert isinstance(made, dict)
    await share_users(cluster)
    token = {"Authorization": f"PVEAPIToken=ci@pve!t1={made['value']}"}
    for path in ("/version", "/nodes/n1/echo", "/nodes/n1/echo-here", "/nodes/n2/echo"):
        await call(cluster, "GET", path, token)
    echoed = await call(cluster, "POST", "/nodes/n2/echo", token, text="no csrf token needed")
    assert isinstance(echoed, dict)
    assert (echoed["user"], echoed["here"]) == ("ci@pve", "n2")
    for wrong in ("ci@pve!t1=guess", "ci@pve!t2=x", "ci@pve", "=", "ci@pve!t1"):
        for path in ("/version", "/nodes/n2/echo-here"):
            url = f"{cluster.n1.url}/api2/json{path}"
            async with cluster.client.get(url, headers={"Authorization": f"PVEAPIToken={wrong}"}) as answer:
                assert answer.status == 401
                assert "no such API token" in (answer.reason or "")
    async with cluster.client.get(f"{cluster.n1.url}/api2/events", headers=token) as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
    await call(cluster, "DELETE", "/access/users/ci@pve", root)
    async with cluster.client.get(f"{cluster.n1.url}/api2/json/version", headers=token) as answer:
        assert answer.status == 401


async def test_a_user_without_rights_is_told_which_is_missing(cluster: "Cluster") -> None:
    root = await cluster.login()
    await call(cluster, "POST", "/access/users", root, userid="joe@pve", password="correct horse")
    form = {"username": "joe@pve", "password": "correct horse"}
    async with cluster.client.post(f"{cluster.n1.url}/api2/json/access/ticket", data=form) as answer:
        data = (await answer.json())["data"]
    joe = {
        "Cookie": f"PVEAuthCookie={data['ticket']}",
        "CSRFPreventionToken": data["CSRFPreventionToken"],
    }
    url = f"{cluster.n1.url}/api2/json/access/roles"
    async with cluster.client.post(url, headers=joe, data={"roleid": "Mine"}) as answer:
        assert (answer.status, answer.reason) == (403, "Permission check failed (/access, Sys.Modify)")
    await call(cluster, "PUT", "/access/acl", root, path="/access", roles="Administrator", users="joe@pve")
    async with cluster.client.post(url, headers=joe, data={"roleid": "Mine"}) as answer:
        assert answer.status == 200
    audit = [json.loads(line) for line in cluster.n1.paths.audit_log.read_text().splitlines()]
    assert [(e["user"], e["address"], e["status"]) for e in audit if e["path"] == "/access/roles"] == [
        ("joe@pve", "127.0.0.1", 403),
        ("joe@pve", "127.0.0.1", 200),
    ]
    assert cluster.n1.paths.audit_log.stat().st_mode & 0o007 == 0


async def test_proxmoxer_logs_in_with_a_second_factor_and_uses_a_token(cluster: "Cluster") -> None:
    root = await cluster.login()
    await call(cluster, "POST", "/access/users", root, userid="joe@pve", password="correct horse")
    totp = pyotp.TOTP(pyotp.random_base32())
    now = int(time.time())
    uri = totp.provisioning_uri()
    await call(cluster, "POST", "/access/tfa/joe@pve", root, type="totp", totp=uri, value=totp.at(now - 30))

    def use() -> tuple[object, object]:
        common = {"verify_ssl": False, "port": cluster.port, "timeout": 15}
        api = ProxmoxAPI("127.0.0.1", user="joe@pve", password="correct horse", otp=totp.at(now), **common)
        made = api.access.users("joe@pve").token("mine").post()
        user, _, name = made["full-tokenid"].partition("!")
        by_token = ProxmoxAPI("127.0.0.1", user=user, token_name=name, token_value=made["value"], **common)
        with pytest.raises(ResourceException):
            by_token.access.users("joe@pve").token("other").post()
        return api.version.get(), by_token.version.get()

    one, other = await asyncio.to_thread(use)
    assert one == other
