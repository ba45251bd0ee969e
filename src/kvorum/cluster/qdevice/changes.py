"""Setting the QDevice up and removing it: the plans, and what their steps do.

A setup is in when corosync.conf has the device and the store the certificate that belongs to it, else it is
out; nodes follow the store by themselves (``follower.py``). Undoing is a change of the store, nothing else.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from kvorum.cluster.qdevice.certificate import AUTHORITY_FILE, BUNDLE_FILE, Bundle, Request, Signed
from kvorum.cluster.qdevice.device import QNETD_PORT, Device, with_device, without_device
from kvorum.cluster.qdevice.follower import bundle_in
from kvorum.cluster.sequence import Journal, Plan, Step, carry_out, interrupted
from kvorum.core.errors import Conflict, DeadlineExceeded, KvorumError, NoQuorum, OutcomeUnknown
from kvorum.corosync import Configuration, judge
from kvorum.interface import Peers
from kvorum.store import Delete, Expect, Operation, Store, Write

CONFIGURATION = "corosync.conf"
HOST_KEY_FILE = "priv/qdevice/hostkey"
VOTE_S = 30.0
QUORUM_S = 60.0
FOLLOW_S = 60.0
INSTALL_S = 330.0
_ATTEMPTS = 5
Log = Callable[[str], None]

SETUP = Plan(
    "setup",
    (
        "install corosync-qnetd on the QDevice's host",
        "install corosync-qdevice on the nodes",
        "have QNetd sign the cluster's certificate",
        "check that every node reaches QNetd",
        "write the certificates to the store",
        "import the certificates on every node",
        "write the quorum device to corosync.conf",
        "wait for corosync on every node",
        "start corosync-qdevice on every node",
        "wait for the QDevice's vote",
        "remember the QDevice's host",
    ),
    commit="remember the QDevice's host",
)
REMOVE = Plan(
    "remove",
    (
        "take the quorum device out of corosync.conf",
        "wait for corosync on every node",
        "stop corosync-qdevice on every node",
        "remove the certificates from the store",
        "clean the nodes up",
    ),
    commit="wait for corosync on every node",
)


class Vote(Protocol):
    """What is seen on this node of Corosync and its QDevice."""

    async def behind(self, version: int) -> list[str]:
        """The present nodes whose corosync does not come to run this version of the configuration."""
        ...

    async def cast(self) -> bool:
        """Whether this node has the QDevice's vote now."""
        ...

    async def state(self) -> str:
        """What corosync-qdevice says of its connection, for a sentence."""
        ...


class Host(Protocol):
    """The QDevice's host."""

    async def prepare(self) -> None:
        """Have corosync-qnetd installed and running there."""
        ...

    async def sign(self, request: Request) -> Signed:
        """Have a request signed."""
        ...


@dataclass(frozen=True, slots=True)
class Changer:
    """What the steps act upon."""

    store: Store
    peers: Peers
    journal: Journal
    vote: Vote

    def present(self) -> list[str]:
        """The nodes that are here."""
        return sorted(member.name for member in self.store.membership.members if member.online)

    def check_idle(self) -> None:
        """Raise ``Conflict`` while this node carries out another change of the QDevice."""
        if self.journal.load() is not None:
            raise Conflict(
                "the QDevice is being set up or removed on this node already: wait for that task's end "
                "(or for its undoing, after a restart of pvedaemon)"
            )

    async def follow(self) -> None:
        """Have every present node make itself what the store says."""
        await self.everywhere("follow", {}, FOLLOW_S)

    async def everywhere(self, what: str, parameters: dict[str, object], timeout: float) -> dict[str, object]:
        """Call a method of this room on every present node; raises the first sentence, with the node."""

        async def one(node: str) -> object:
            path = f"/kvorum/nodes/{node}/qdevice/{what}"
            try:
                return await self.peers.call(node, "POST", path, parameters, timeout=timeout)
            except KvorumError as error:
                raise KvorumError(f"{node}: {error}") from error

        nodes = self.present()
        answers = await asyncio.gather(*(one(node) for node in nodes), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return dict(zip(nodes, answers, strict=True))


async def setup(
    changer: Changer,
    host: Host,
    device: Device,
    host_key: str,
    install: bool,
    log: Log,
    request: Request | None = None,
) -> None:
    """Carry a setup through; raises ``SequenceFailed`` once it is undone.

    ``host_key`` is remembered for the next setup (empty: none); ``request`` is one that was signed already.
    """
    changer.check_idle()
    old = bundle_in(changer.store)
    file = changer.store.read(CONFIGURATION)
    notes = {
        "old": _packed(old) if old else "",
        "configuration": file.text if file and Configuration.read(file.text).device else "",
    }
    steps = _Setup(changer, notes, host, log, device, host_key, install, request)
    await carry_out(SETUP, steps.steps(), changer.journal, notes, log)


async def remove(changer: Changer, log: Log, *, force: bool = False) -> None:
    """Carry a removal through; raises ``SequenceFailed`` once it is undone."""
    changer.check_idle()
    notes = {"force": "yes" if force else ""}
    await carry_out(REMOVE, remove_steps(changer, notes, log), changer.journal, notes, log)


async def recover(changer: Changer, log: Log) -> None:
    """Finish or undo what a daemon's end broke off; does nothing when nothing was under way."""
    found = changer.journal.load()
    if found is None:
        return
    kind, state, notes = found
    await wait_quorate(changer.store)
    if kind == "setup":
        plan, steps = SETUP, _Setup(changer, notes, _NoHost(), log).steps()
    else:
        plan, steps = REMOVE, remove_steps(changer, notes, log)
    state = interrupted(plan, state, f"the QDevice's {kind} was broken off by the end of pvedaemon")
    way = "undoing it" if state.failure else "going on with it"
    log(f"an unfinished {kind} of the QDevice was found: {way}")
    await carry_out(plan, steps, changer.journal, notes, log, state)


@dataclass
class _Setup:
    """What the steps of ``SETUP`` do; ``device`` is ``None`` for a setup that is only undone or finished."""

    changer: Changer
    notes: dict[str, str]
    host: Host
    log: Log
    device: Device | None = None
    host_key: str = ""
    install: bool = False
    request: Request | None = None

    def steps(self) -> dict[str, Step]:
        """The steps by their names."""
        actions = (
            Step(self.host.prepare),
            Step(self.install_nodes),
            Step(self.sign),
            Step(self.check_way),
            Step(self.write_certificates, self.restore_certificates),
            Step(self.changer.follow),
            Step(self.write_device, self.restore_device),
            Step(lambda: _await_corosync(self.changer, int(self.notes["version"]))),
            Step(self.changer.follow),
            Step(self.await_vote),
            Step(self.remember),
        )
        return dict(zip(SETUP.steps, actions, strict=True))

    @property
    def wanted(self) -> Device:
        if self.device is None:
            raise KvorumError("what was asked for is not known any more")
        return self.device

    async def install_nodes(self) -> None:
        if self.install:
            await self.changer.everywhere("install", {}, INSTALL_S)

    async def sign(self) -> None:
        asked = self.request or Request.make(_configuration(self.changer.store)[1].cluster_name)
        self.notes["new"] = _packed(asked.bundle(await self.host.sign(asked)))

    async def check_way(self) -> None:
        address = self.wanted.address
        answers = await self.changer.everywhere("check", {"address": address}, FOLLOW_S)
        failed = [
            f"{node} ({answer['way']})"
            for node, answer in answers.items()
            if isinstance(answer, dict) and answer.get("way")
        ]
        if failed:
            raise KvorumError(
                f"QNetd at {address} can't be reached at port {QNETD_PORT} by {', '.join(failed)}: open TCP "
                f"port {QNETD_PORT} in the firewalls there and between"
            )

    async def write_certificates(self) -> None:
        new = _unpacked(self.notes["new"])
        operations = [Write(AUTHORITY_FILE, new.authority), Write(BUNDLE_FILE, new.pair)]
        await _transact(self.changer.store, operations)

    async def restore_certificates(self) -> None:
        await _surely(self.changer.store, self.log, self._restore_certificates)

    async def _restore_certificates(self) -> None:
        if not self._is_ours():
            return
        if self.notes["old"]:
            old = _unpacked(self.notes["old"])
            operations: list[Operation] = [
                Write(AUTHORITY_FILE, old.authority),
                Write(BUNDLE_FILE, old.pair),
            ]
        else:
            operations = _deletions(self.changer.store, (AUTHORITY_FILE, BUNDLE_FILE))
        await _transact(self.changer.store, operations)

    async def write_device(self) -> None:
        """The import restarted a device that was there: where its vote is needed, quorum comes with it."""

        async def write() -> None:
            version = await _edit(self.changer.store, lambda old: with_device(old, self.wanted))
            self.notes["version"] = str(version)

        try:
            async with asyncio.timeout(QUORUM_S):
                await _surely(self.changer.store, self.log, write)
        except TimeoutError:
            raise NoQuorum(
                f"no quorum within {QUORUM_S:g} s: {self.changer.store.membership.reason}"
            ) from None

    async def restore_device(self) -> None:
        await _surely(self.changer.store, self.log, self._restore_device)

    async def _restore_device(self) -> None:
        if not self._is_ours():
            return
        text = self.notes["configuration"]
        former = Configuration.read(text) if text else None
        version = await _edit(self.changer.store, lambda present: _with_former(present, former))
        await self.changer.vote.behind(version)

    def _is_ours(self) -> bool:
        """Whether the store has this setup's certificates: not if never written, or after another setup."""
        now = bundle_in(self.changer.store)
        return now is not None and self.notes.get("new") == _packed(now)

    async def await_vote(self) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + VOTE_S
        while not await self.changer.vote.cast():
            if loop.time() > until:
                state = await self.changer.vote.state()
                raise DeadlineExceeded(f"the QDevice did not vote within {VOTE_S:g} s: {state}")
            await asyncio.sleep(0.1)  # ends at the vote or the deadline

    async def remember(self) -> None:
        if self.device is None or not self.host_key:
            return
        line = f"{self.device.address} {self.host_key}\n".encode()
        try:
            await _transact(self.changer.store, [Write(HOST_KEY_FILE, line)])
        except KvorumError as error:
            self.log(f"the host's SSH key is not remembered, a later setup asks for it again: {error}")


def remove_steps(changer: Changer, notes: dict[str, str], log: Log) -> dict[str, Step]:
    """What the steps of ``REMOVE`` do. Once the device is out of corosync.conf nothing can stand against it:
    a node that does not answer makes itself what the store says when it is back."""
    store = changer.store

    async def take_out() -> None:
        def edit(old: Configuration) -> Configuration:
            new = without_device(old)
            present = {node.nodeid for node in old.nodes if node.name in changer.present()}
            verdict = judge(old, new.text, present) if new is not old else None
            if verdict and verdict.errors and not notes["force"]:
                raise Conflict("; ".join(verdict.errors))
            return new

        notes["version"] = str(await _edit(store, edit))

    async def await_corosync() -> None:
        late = await changer.vote.behind(int(notes["version"]))
        if late:
            log(f"corosync on {', '.join(late)} does not run the new configuration yet, and will")

    async def follow() -> None:
        try:
            await changer.follow()
        except KvorumError as error:
            log(f"{error}; the node goes on with it by itself when it is back")

    async def remove_certificates() -> None:
        await _surely(store, log, lambda: _transact(store, _deletions(store, (AUTHORITY_FILE, BUNDLE_FILE))))

    actions = (
        Step(take_out),
        Step(await_corosync),
        Step(follow),
        Step(remove_certificates),
        Step(follow),
    )
    return dict(zip(REMOVE.steps, actions, strict=True))


async def wait_quorate(store: Store) -> None:
    """Until changes are possible, as long as it takes."""
    async for membership in store.watch_membership():
        if membership.quorate:
            return


async def _surely(store: Store, log: Log, change: Callable[[], Awaitable[None]]) -> None:
    """Carry out what makes it wholly in or wholly out: it waits for quorum without an end, and says so.

    ``change`` looks at what is there, so that it may come again.
    """
    met = 0
    while True:
        if not store.membership.quorate:
            log(f"waiting for quorum to go on: {store.membership.reason}")
        await wait_quorate(store)
        try:
            return await change()
        except (NoQuorum, OutcomeUnknown):
            continue  # the members changed at that moment
        except Conflict:
            if (met := met + 1) >= _ATTEMPTS:
                raise


class _NoHost:
    """After a daemon's end nobody is logged in at the host any more."""

    async def prepare(self) -> None:
        raise KvorumError("the setup was broken off before QNetd was ready")

    async def sign(self, request: Request) -> Signed:
        raise KvorumError("the setup was broken off before QNetd had signed")


def _with_former(present: Configuration, former: Configuration | None) -> Configuration:
    """The present configuration with the device that was there before, or none."""
    quorum = former.document.section("quorum") if former else None
    section = quorum.section("device") if quorum else None
    if section is None:
        return without_device(present)
    now = present.document.section("quorum")
    old = now.section("device") if now else None
    if now is None or old is None or old == section:
        return present
    new = now.with_section(section, instead_of=old)
    return Configuration.of(present.document.with_section(new, instead_of=now)).bumped()


async def _edit(store: Store, edit: Callable[[Configuration], Configuration]) -> int:
    """Change corosync.conf, expecting what was read; returns the version that is there then."""
    for _ in range(_ATTEMPTS):
        version, old = _configuration(store)
        new = edit(old)
        if new is old:
            return old.config_version
        try:
            await store.transact(
                [Write(CONFIGURATION, new.text.encode())],
                [Expect(CONFIGURATION, version)],
                who="pvecm qdevice",
            )
        except OutcomeUnknown:
            if _configuration(store)[1].text == new.text:
                return new.config_version
        except Conflict:
            continue  # somebody else changed it at the same moment: look again
        else:
            return new.config_version
    raise Conflict("corosync.conf changed at every attempt; try again")


async def _await_corosync(changer: Changer, version: int) -> None:
    late = await changer.vote.behind(version)
    if late:
        raise DeadlineExceeded(
            f"corosync on {', '.join(late)} does not run the new configuration; "
            "see 'journalctl -u pvedaemon' there"
        )


def _configuration(store: Store) -> tuple[int, Configuration]:
    file = store.read(CONFIGURATION)
    if file is None:
        raise Conflict("this node is not in a cluster any more")
    return file.version, Configuration.read(file.text)


async def _transact(store: Store, operations: Sequence[Operation]) -> None:
    """Write, each file expected as it is now."""
    if not operations:
        return
    expect = []
    for operation in operations:
        path = operation.path if isinstance(operation, Write | Delete) else ""
        file = store.read(path)
        expect.append(Expect(path, file.version if file else None))
    await store.transact(operations, expect, who="pvecm qdevice")


def _deletions(store: Store, paths: Sequence[str]) -> list[Operation]:
    return [Delete(path) for path in paths if store.read(path) is not None]


def _packed(bundle: Bundle) -> str:
    return f"{base64.b64encode(bundle.authority).decode()}.{base64.b64encode(bundle.pair).decode()}"


def _unpacked(text: str) -> Bundle:
    first, _, second = text.partition(".")
    return Bundle(base64.b64decode(first), base64.b64decode(second))
