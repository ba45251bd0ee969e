"""Takes a node into the cluster, one after another: a second that comes meanwhile waits for its turn."""

from __future__ import annotations

import asyncio
import base64
import time
from dataclasses import replace

from kvorum.cluster.admission import Admission, admit
from kvorum.cluster.bring import clashes, read_brought, with_storages
from kvorum.cluster.change import CONFIGURATION, Cluster
from kvorum.cluster.join_token import FILE, Tokens
from kvorum.cluster.leave.removal import own_fingerprint
from kvorum.cluster.links import addresses
from kvorum.cluster.methods.models import Added, AddNode, configured
from kvorum.cluster.methods.withdrawing import take_off
from kvorum.cluster.qdevice.device import misfit
from kvorum.core.errors import Conflict, NoQuorum, OutcomeUnknown, ParameterError
from kvorum.interface import Context
from kvorum.store import Expect, MakeDirectory, Operation, Store, Write

TURN_WAIT_S = 75.0
"""How long a node waits for others that are just joining; longer than a join waits for its quorum."""
WITHDRAW_MINUTES = 60
_ATTEMPTS = 20
_LOOK_S = 0.1


def request_of(p: AddNode, came_from: str) -> Admission:
    """The request as the rules see it."""
    address = p.new_node_ip or came_from
    links, last = p.links(), (p.apiversion, p.brought, p.withdrawal)
    return Admission(p.node, links, p.nodeid, p.votes, p.force, address, *last)


async def take_in(ctx: Context, request: Admission, who: str, secret: str | None = None) -> Added:
    """List the node, bind its join token to it, and answer with what it needs once corosync follows.

    ``secret`` is the token that it came with; without one it gets one that only takes it off the list again.
    Raises ``Conflict`` with all refusals, ``NoQuorum``, and as ``Store.transact`` does.
    """
    store, cluster = ctx.store, ctx.service(Cluster)
    asked, withdrawal = False, secret
    until = asyncio.get_running_loop().time() + TURN_WAIT_S
    for _ in range(_ATTEMPTS):
        if not asked and _is_left_over(store, request):
            # Its first join broke off, on one side or the other: this is the second.
            await take_off(store, request.node, who)
        await _turn(store, request.node, until)
        if not store.membership.quorate and not asked:
            raise NoQuorum(f"no quorum, so no node can be added: {_why(store, request.node)}")
        file, old = configured(store)
        new, refusals = admit(old, request)
        if new is None:
            raise Conflict("\n".join(refusals))
        if new is not old:
            operations: list[Operation] = [Write(CONFIGURATION, new.text.encode())]
            if request.node not in store.names("nodes"):
                operations.append(MakeDirectory(f"nodes/{request.node}/qemu-server"))
            more, expect = _with_brought(store, request)
            operations += more
            kept_file = store.read(FILE)
            kept = kept_file.text if kept_file else "[]"
            tokens, withdrawal = _bound(kept, request, who, secret)
            operations.append(Write(FILE, tokens.text().encode()))
            expect += [Expect.of(file), Expect.of(kept_file) if kept_file else Expect(FILE, None)]
            try:
                await store.transact(operations, expect, who=who)
            except Conflict:
                continue  # another node joined at the same moment: look again
            except OutcomeUnknown:
                # It may have changed the quorum that its answer waited for. If it is there, it is ours.
                request, asked = replace(request, force=True), True
                continue
        from kvorum.cluster.following import wait_until_followed  # what follows is pvedaemon's alone

        late = await wait_until_followed(store, new.config_version)
        warnings = [f"corosync on {', '.join(late)} does not run the new configuration yet"] if late else []
        warnings += [sentence] if (sentence := misfit(new)) else []
        key = await asyncio.to_thread(cluster.host.authkey.read_bytes)
        answer = Added(
            corosync_authkey=base64.b64encode(key).decode(), corosync_conf=new.text, warnings=warnings
        )
        return answer if withdrawal is None else {**answer, "withdrawal": withdrawal}
    raise Conflict("corosync.conf changed at every attempt; try again")


def _with_brought(store: Store, request: Admission) -> tuple[list[Operation], list[Expect]]:
    """What writes the node's guests and storages; raises ``Conflict`` with all that forbids it."""
    try:
        brought = read_brought(request.brought)
    except ValueError as error:
        raise ParameterError({"brought": str(error)}) from None
    if not brought.guests and not brought.storages:
        return [], []
    file = store.read("storage.cfg")
    refusals = clashes(brought, guest_paths(store), request.node)
    text, more = with_storages(file.text if file else "", brought, request.node)
    if refusals := refusals + more:
        raise Conflict("\n".join(refusals))
    operations: list[Operation] = [
        Write(f"nodes/{request.node}/qemu-server/{vmid}.conf", configuration.encode())
        for vmid, configuration in brought.guests.items()
    ]
    if file is None or text != file.text:
        operations.append(Write("storage.cfg", text.encode()))
    return operations, [Expect.of(file) if file else Expect("storage.cfg", None)]


def guest_paths(store: Store) -> dict[str, str]:
    """Every vmid of the cluster, and where it lies."""
    return {
        name.removesuffix(".conf"): f"nodes/{node}/{kind}/{name}"
        for node in store.names("nodes")
        for kind in ("qemu-server", "lxc")
        for name in store.names(f"nodes/{node}/{kind}")
        if name.endswith(".conf")
    }


def _bound(text: str, request: Admission, who: str, secret: str | None) -> tuple[Tokens, str]:
    """The tokens with this node's bound to it, and its secret."""
    tokens, now, node = Tokens.read(text), time.time(), request.node
    if secret is not None:
        return tokens.used_by(tokens.check(secret, now, node), node, now), secret
    tokens, kept, made = tokens.made(who, WITHDRAW_MINUTES, now, request.withdrawal)
    return tokens.without_node(node).used_by(kept, node, now), made


def _is_left_over(store: Store, request: Admission) -> bool:
    """Whether this very node is listed, has never finished a join, and is not here."""
    if request.force:
        return False
    listed = configured(store)[1].node(request.node)
    given = addresses(request.links) or ({0: request.address} if request.address else {})
    here = any(m.name == request.node and m.online for m in store.membership.members)
    return (
        listed is not None
        and not here
        and dict(listed.addresses) == given
        and not own_fingerprint(store, request.node)
    )


def _joining(store: Store, but: str) -> list[str]:
    """Nodes that are listed and have no certificate yet, the last thing that a join makes."""
    nodes = configured(store)[1].nodes
    return [n.name for n in nodes if n.name != but and not own_fingerprint(store, n.name)]


async def _turn(store: Store, node: str, until: float) -> None:
    """Wait until nobody else is joining, at most to ``until``."""
    loop = asyncio.get_running_loop()
    while _joining(store, node) and loop.time() < until:  # noqa: ASYNC110
        await asyncio.sleep(_LOOK_S)  # the list and the folder change with different events


def _why(store: Store, node: str) -> str:
    joining = ", ".join(f"'{name}'" for name in _joining(store, node))
    if not joining:
        return store.membership.reason
    return f"node {joining} was taken in and has not come: repeat its join there, or 'pvecm delnode' it here"
