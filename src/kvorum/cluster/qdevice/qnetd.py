"""What a setup does on the QDevice's host: by SSH, or by hand with the commands that this prints."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Sequence
from typing import Protocol

from kvorum.cluster.qdevice.certificate import Request, Signed, authority_in
from kvorum.core.errors import KvorumError

CERTUTIL = "corosync-qnetd-certutil"
DATABASE = "/etc/corosync/qnetd/nssdb"
INSTALL = "export DEBIAN_FRONTEND=noninteractive; apt-get --quiet update; " + (
    "exec apt-get --quiet --yes --no-install-recommends install corosync-qnetd"
)
INSTALL_S = 300.0
UNIT = "corosync-qnetd.service"
_MASKED = f'[ "$(systemctl show --property=LoadState --value {UNIT})" = masked ]'
# The tool reads its request from a file, and writes its result to one that is named after the cluster.
_SIGN = (
    f'f=$(mktemp) && cat > "$f" && {CERTUTIL} -s -c "$f" -n "$1" >&2 '
    f'&& cat {DATABASE}/cluster-"$1".crt; s=$?; rm -f "$f"; exit $s'
)


class Shell(Protocol):
    """A root shell on the host."""

    address: str

    async def succeeds(self, argv: Sequence[str]) -> bool: ...

    async def run(self, argv: Sequence[str], input: bytes = b"", *, timeout: float = 60.0) -> bytes: ...


class QnetdHost:
    """The machine that will cast the vote."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    async def installed(self) -> bool:
        """Whether corosync-qnetd is there."""
        return await self._shell.succeeds(["sh", "-c", f"command -v {CERTUTIL}"])

    async def install(self) -> None:
        """Install corosync-qnetd by the host's own apt."""
        await self._shell.run(["sh", "-c", INSTALL], timeout=INSTALL_S)
        if not await self.installed():
            raise KvorumError(f"{self._shell.address}: apt installed no corosync-qnetd")

    async def check_startable(self) -> None:
        """Raise ``KvorumError`` when the daemon is masked: somebody decided that it must not run."""
        if not await self._shell.succeeds(["sh", "-c", _MASKED]):
            return
        raise KvorumError(
            f"corosync-qnetd is masked on {self._shell.address}, so that nothing can start it: run "
            "'systemctl unmask corosync-qnetd' there"
        )

    async def start(self) -> None:
        """Have QNetd's authority made if it is not, and its daemon run now and at every boot."""
        if not await self._shell.succeeds(["test", "-e", f"{DATABASE}/qnetd-cacert.crt"]):
            await self._shell.run([CERTUTIL, "-i", "-G"])
        await self.check_startable()
        enabled = await self._shell.succeeds(["systemctl", "enable", "--now", UNIT])
        if not enabled or not await self._shell.succeeds(["systemctl", "is-active", "--quiet", UNIT]):
            raise KvorumError(
                f"corosync-qnetd does not start on {self._shell.address}: see 'journalctl -u corosync-qnetd' "
                "there"
            )

    async def served(self, cluster: str) -> int:
        """How many nodes of a cluster of this name QNetd serves now; one that does not run serves none."""
        if not await self._shell.succeeds(["systemctl", "is-active", "--quiet", UNIT]):
            return 0
        told = await self._shell.run(["corosync-qnetd-tool", "-l", "-c", cluster])
        return told.count(b"Node ID ")

    async def sign(self, request: Request) -> Signed:
        """Have the request signed."""
        authority = await self._shell.run(["cat", f"{DATABASE}/qnetd-cacert.crt"])
        certificate = await self._shell.run(["sh", "-c", _SIGN, "sh", request.cluster], request.der)
        return Signed(authority_in(authority), certificate)


def commands_by_hand(request: Request) -> list[str]:
    """What to run as root on the host instead; the second prints the line that ``answer_of`` reads."""
    cluster = shlex.quote(request.cluster)
    crq = base64.b64encode(request.der).decode()
    return [
        "apt install corosync-qnetd",
        f"base64 -d <<< {crq} > cluster.crq && {CERTUTIL} -s -c cluster.crq -n {cluster} >&2 && "
        f"base64 -w0 {DATABASE}/cluster-{cluster}.crt && echo -n . && "
        f"sed -n '/BEGIN/,/END/p' {DATABASE}/qnetd-cacert.crt | base64 -w0; rm -f cluster.crq; echo",
    ]
