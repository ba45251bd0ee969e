"""A node's shell over the API: root is logged in, on the node that was named, through another one."""

from __future__ import annotations

import asyncio

import aiohttp
from lab_cluster import Cluster, address
from lab_http import session


def test_root_has_a_shell_on_another_node(cluster: Cluster) -> None:
    asyncio.run(_shell(cluster))


async def _shell(cluster: Cluster) -> None:
    base = f"https://{address(cluster.lab, 'n1', 0)}:8006/api2/json"
    async with asyncio.timeout(60), session(cluster.lab) as client:
        form = {"username": "root@pam", "password": cluster.lab.password}
        async with client.post(f"{base}/access/ticket", data=form) as answer:
            login = (await answer.json())["data"]
        headers = {
            "Cookie": f"PVEAuthCookie={login['ticket']}",
            "CSRFPreventionToken": login["CSRFPreventionToken"],
        }
        async with client.post(f"{base}/nodes/n2/termproxy", headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            offer = (await answer.json())["data"]
        params = {"port": str(offer["port"]), "vncticket": offer["ticket"]}
        async with client.ws_connect(
            f"{base}/nodes/n2/vncwebsocket", headers=headers, params=params, protocols=("binary",)
        ) as shell:
            await shell.send_str(f"root@pam:{offer['ticket']}\n")
            assert await shell.receive_bytes() == b"OK"
            seen = b""
            while b"root@n2" not in seen:  # what is typed before the prompt, login(1) throws away
                seen += await shell.receive_bytes()
            typed = "echo $(id -un)+$(uname -n)+$((6 * 7))\n"
            await shell.send_str(f"1:80:24:0:{len(typed)}:{typed}")
            while b"root+n2+42" not in seen:
                message = await shell.receive()
                assert message.type is aiohttp.WSMsgType.BINARY, (message, seen)
                seen += message.data
