"""The API's methods about the QDevice: what users ask for, and what nodes ask of each other."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Literal, TypedDict

from pydantic import Field, JsonValue

from kvorum.cluster.change import Cluster
from kvorum.cluster.methods.models import configured
from kvorum.cluster.qdevice import status
from kvorum.cluster.qdevice.certificate import Request, Signed, answer_of
from kvorum.cluster.qdevice.changes import (
    HOST_KEY_FILE,
    Changer,
    Host,
    remove,
    setup,
)
from kvorum.cluster.qdevice.device import (
    QNETD_PORT,
    Device,
    HeuristicsMode,
    advice,
    check_setup,
    suitable,
)
from kvorum.cluster.qdevice.follower import DeviceFollower, Followed
from kvorum.cluster.qdevice.guests import guest_at
from kvorum.cluster.qdevice.local import LocalDevice, cannot_run
from kvorum.cluster.qdevice.qnetd import QnetdHost, commands_by_hand
from kvorum.cluster.qdevice.secure_shell import SecureShell, changed_key, host_key
from kvorum.core.errors import Conflict, KvorumError, NoQuorum, ParameterError
from kvorum.interface import (
    Boolean,
    Command,
    Context,
    NodeName,
    NodeOnly,
    NoParameters,
    Parameters,
    Privilege,
    RootOnly,
    TaskLog,
    Where,
    Work,
    method,
)
from kvorum.store import Store

_NODE = "/kvorum/nodes/{node}/qdevice"
_BY_HAND: list[JsonValue] = ["manual", "answer"]
_REQUEST_FILE = "qdevice-request.json"


class HostAddress(Parameters):
    address: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9.:-]*$",
        max_length=253,
        description="Address of the machine that is to run corosync-qnetd.",
    )


class Setup(HostAddress):
    password: str | None = Field(
        None,
        max_length=128,
        description="The password of root there.",
        json_schema_extra={
            "ask": "Please enter the password of root@{address}: ",
            "unless": ["key", *_BY_HAND],
        },
    )
    key: str | None = Field(
        None, pattern="^/", description="A private SSH key on this node (its path) instead of the password."
    )
    hostkey: str | None = Field(
        None,
        pattern="^SHA256:[A-Za-z0-9+/]{43}$",
        description="The fingerprint of its SSH host key.",
        json_schema_extra={
            "confirm": {
                "method": "GET /kvorum/cluster/qdevice/hostkey",
                "given": ["address"],
                "show": "The authenticity of host '{address}' can't be established.\n"
                "Its SSH host key's fingerprint is {value}.",
                "ask": "Are you sure you want to continue connecting (yes/no)? ",
            },
            "unless": _BY_HAND,
        },
    )
    algorithm: Literal["ffsplit", "lms"] | None = Field(
        None,
        description="How QNetd decides; without it ffsplit for an even count of nodes, lms for an odd one.",
    )
    heuristics: str = Field(
        "",
        max_length=1024,
        pattern=r"^(/[^\n{}]+)?$",
        description="A command (path, arguments) that must succeed on a node for its side to be preferred.",
    )
    heuristics_mode: HeuristicsMode = Field(
        "on",
        alias="heuristics-mode",
        description="When it is run: at changes of members and regularly (on), or at changes only (sync).",
    )
    install: Boolean = Field(
        False, description="Install corosync-qnetd there and corosync-qdevice on the nodes where missing."
    )
    force: Boolean = Field(
        False, description="Set up although there is a QDevice already, or nodes are away."
    )
    manual: Boolean = Field(False, description="Without SSH: print the commands to run there.")
    answer: str | None = Field(None, description="What the last of these commands printed.")


class Removal(Parameters):
    force: Boolean = Field(False, description="Remove it although the nodes that are here lose quorum by it.")


class OnNode(Parameters):
    node: NodeName


class CheckNode(OnNode):
    address: str = Field(max_length=253, description="QNetd's address.")
    heuristics: str = Field("", max_length=1024, description="A command that is to be run on the node.")


class Checked(TypedDict):
    """A node's readiness."""

    installed: bool
    way: str
    command: str
    """Why the command of the heuristics can't be run there; empty when it can."""


@method(
    "GET",
    "/cluster/config/qdevice",
    permission=Privilege("/", "Sys.Audit"),
    protected=True,
    commands=(Command("pvecm qdevice status"),),
)
async def device_status(ctx: Context, p: NoParameters) -> dict[str, object]:
    """Gets QDevice status"""
    file = ctx.store.read("corosync.conf")
    if file is None or configured(ctx.store)[1].device is None:
        return {}
    try:
        return dict(await status.ask())
    except KvorumError as error:
        return {"State": str(error)}


@method("GET", "/kvorum/cluster/qdevice/hostkey", permission=RootOnly(), protected=True)
async def shown_host_key(ctx: Context, p: HostAddress) -> str:
    """The fingerprint of the SSH host key that a machine shows, for an admin to compare before a setup."""
    shown = await host_key(p.address)
    _check_known(ctx.store, p.address, shown)
    return shown


@method(
    "POST",
    "/kvorum/cluster/qdevice",
    permission=RootOnly(),
    protected=True,
    task=True,
    commands=(Command("pvecm qdevice setup", "address"),),
)
async def set_up(ctx: Context, p: Setup) -> Work:
    """Set the QDevice up: corosync-qnetd on another machine, reached by SSH, gives this cluster a vote."""
    changer, cluster = ctx.service(Changer), ctx.service(Cluster)
    request_file = cluster.paths.state / _REQUEST_FILE
    _, configuration = configured(ctx.store)
    if not ctx.store.membership.quorate:
        raise NoQuorum(f"no quorum, so no QDevice can be set up: {ctx.store.membership.reason}")
    warnings = check_setup(configuration, p.address, changer.present(), force=p.force)
    if p.manual:
        request = Request.make(configuration.cluster_name)
        _keep(request_file, p.address, request)
        return Work("qdevicemanual", p.address, lambda log: _print(log, p.address, request))
    algorithm, votes = suitable(configuration, p.algorithm)
    warnings += advice(configuration, algorithm)
    await _check_nodes(changer, p)
    device = Device(p.address, algorithm, votes, p.heuristics, p.heuristics_mode)
    if p.answer is not None:
        by_hand = _ByHand(_kept(request_file, p.address), answer_of(p.answer))
        warnings += await _guest_warning(ctx.store, p.address)

        async def finish(log: TaskLog) -> None:
            await _carry(changer, by_hand, device, "", p.install, warnings, log)
            request_file.unlink(missing_ok=True)

        return Work("qdevicesetup", p.address, finish)
    pinned = await _pinned(ctx.store, p)
    async with SecureShell(p.address, pinned, password=p.password, key=p.key) as shell:
        await _check_host(QnetdHost(shell), configuration.cluster_name, p)
    warnings += await _guest_warning(
        ctx.store, p.address
    )  # the connection made the address known to the kernel

    async def run(log: TaskLog) -> None:
        async with SecureShell(p.address, pinned, password=p.password, key=p.key) as shell:
            host = _Reached(QnetdHost(shell), p.install)
            await _carry(changer, host, device, pinned, p.install, warnings, log)

    return Work("qdevicesetup", p.address, run)


@method(
    "DELETE",
    "/kvorum/cluster/qdevice",
    permission=RootOnly(),
    protected=True,
    task=True,
    commands=(Command("pvecm qdevice remove"),),
)
async def take_away(ctx: Context, p: Removal) -> Work:
    """Remove the QDevice: votes and quorum follow at once; its machine is left as it is."""
    changer = ctx.service(Changer)
    _, configuration = configured(ctx.store)
    if configuration.device is None:
        raise Conflict("this cluster has no QDevice")
    if not ctx.store.membership.quorate:
        raise NoQuorum(f"no quorum, so the QDevice can't be removed: {ctx.store.membership.reason}")

    async def run(log: TaskLog) -> None:
        await remove(changer, log.line, force=p.force)
        _, left = configured(ctx.store)
        if len(left.nodes) == 2:
            log.warn("two nodes are left without a third vote: without either of them nothing can be changed")
        log.line(f"removed the QDevice: {left.total_votes} votes, quorum {left.quorum}")

    return Work("qdeviceremove", "", run)


@method("POST", f"{_NODE}/check", permission=NodeOnly(), where=Where.NODE, protected=True)
async def check_node(ctx: Context, p: CheckNode) -> Checked:
    """Whether corosync-qdevice is installed on the node, and why it can't reach QNetd if it can't."""
    device = ctx.service(LocalDevice)
    return Checked(
        installed=device.installed(),
        way=await device.reach(p.address, QNETD_PORT),
        command=cannot_run(p.heuristics),
    )


@method("POST", f"{_NODE}/install", permission=NodeOnly(), where=Where.NODE, protected=True)
async def install_on_node(ctx: Context, p: OnNode) -> None:
    """Install corosync-qdevice on the node where it is missing."""
    device = ctx.service(LocalDevice)
    if not device.installed():
        await device.install()


@method("POST", f"{_NODE}/follow", permission=NodeOnly(), where=Where.NODE, protected=True)
async def follow_on_node(ctx: Context, p: OnNode) -> Followed:
    """Make the node what the store says of the QDevice, now."""
    return await ctx.service(DeviceFollower).now()


class _Reached:
    """The host, reached by SSH."""

    def __init__(self, host: QnetdHost, install: bool) -> None:
        self._host, self._install = host, install

    async def prepare(self) -> None:
        if self._install and not await self._host.installed():
            await self._host.install()
        await self._host.start()

    async def sign(self, request: Request) -> Signed:
        return await self._host.sign(request)


class _ByHand:
    """The host, on which an admin has run the commands."""

    def __init__(self, request: Request, signed: Signed) -> None:
        self.request, self._signed = request, signed

    async def prepare(self) -> None:
        return

    async def sign(self, request: Request) -> Signed:
        return self._signed


async def _carry(
    changer: Changer,
    host: Host,
    device: Device,
    pinned: str,
    install: bool,
    warnings: list[str],
    log: TaskLog,
) -> None:
    for warning in warnings:
        log.warn(warning)
    made = host.request if isinstance(host, _ByHand) else None
    await setup(changer, host, device, pinned, install, log.line, made)
    _, now = configured(changer.store)
    log.line(f"the QDevice at {device.address} votes: {now.total_votes} votes, quorum {now.quorum}")


async def _check_nodes(changer: Changer, p: Setup) -> None:
    asked: dict[str, object] = {"address": p.address, "heuristics": p.heuristics}
    answers = await changer.everywhere("check", asked, 30.0)
    lacking = [n for n, a in answers.items() if isinstance(a, dict) and not a.get("installed")]
    if lacking and not p.install:
        raise Conflict(
            f"corosync-qdevice is missing on {', '.join(lacking)}: run 'apt install corosync-qdevice' there, "
            "or repeat with --install"
        )
    failing = [f"{n}: {a['command']}" for n, a in answers.items() if isinstance(a, dict) and a.get("command")]
    if failing:
        raise ParameterError({"heuristics": f"the command can't be run on every node: {'; '.join(failing)}"})


async def _check_host(host: QnetdHost, cluster: str, p: Setup) -> None:
    if not await host.installed():
        if p.install:
            return
        raise Conflict(
            f"corosync-qnetd is missing on {p.address}: run 'apt install corosync-qnetd' there, or repeat "
            "with --install"
        )
    await host.check_startable()
    served = await host.served(cluster)
    if served and not p.force:
        raise Conflict(
            f"QNetd at {p.address} serves {served} nodes of a cluster named '{cluster}' already, and knows "
            "clusters by their names: use another machine, or --force if these are this cluster's nodes"
        )


async def _pinned(store: Store, p: Setup) -> str:
    """The host key to expect; raises ``ParameterError`` with the one shown when none is known."""
    if p.password is None and p.key is None:
        raise ParameterError({"password": "give root's password there, or a key by --key"})
    if p.hostkey is not None:
        return p.hostkey
    shown = await host_key(p.address)
    if _check_known(store, p.address, shown):
        return shown
    raise ParameterError(
        {
            "hostkey": f"the SSH host key of {p.address} has the fingerprint {shown}; compare it with what "
            f"'ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub' shows there, then repeat with "
            f"--hostkey {shown}"
        }
    )


def _check_known(store: Store, address: str, shown: str) -> bool:
    """Whether the key is the one of the last setup; raises ``Conflict`` when that was another."""
    file = store.read(HOST_KEY_FILE)
    known, _, expected = file.text.strip().partition(" ") if file else ("", "", "")
    if known != address:
        return False
    if expected != shown:
        raise Conflict(changed_key(address, expected, shown))
    return True


async def _guest_warning(store: Store, address: str) -> list[str]:
    guest = await guest_at(store, address)
    if guest is None:
        return []
    return [
        f"{address} is guest {guest.vmid} of this cluster: the QDevice is lost with the node that runs it, "
        "just when its vote is needed, and it can't start without quorum; use a machine outside of the "
        "cluster"
    ]


async def _print(log: TaskLog, address: str, request: Request) -> None:
    log.line(f"run these commands as root on {address}:")
    for command in commands_by_hand(request):
        log.line("")
        log.line(f"    {command}")
    log.line("")
    log.line("then, on this node, with the line that the last one printed:")
    log.line("")
    log.line(f"    pvecm qdevice setup {address} --answer LINE")


def _keep(path: Path, address: str, request: Request) -> None:
    """Keep a request until its answer comes; its key is root's alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump({"address": address, "cluster": request.cluster, "key": request.key.decode()}, file)


def _kept(path: Path, address: str) -> Request:
    try:
        kept = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        kept = {}
    if kept.get("address") != address:
        raise Conflict(
            f"no commands were printed for {address} on this node: begin with "
            f"pvecm qdevice setup {address} --manual"
        )
    return Request(kept["cluster"], kept["key"].encode())
