"""``pvecm rename``: a node gets another name while the cluster, and its guests, run on."""

from __future__ import annotations

from pydantic import Field

from kvorum.cluster.change import Cluster, refuse_meanwhile
from kvorum.cluster.methods.models import configuration_of
from kvorum.cluster.rename.anew import daemon_anew
from kvorum.cluster.rename.refusals import Facts, rename_refusals
from kvorum.cluster.rename.steps import Renaming, rename_node
from kvorum.core.errors import Conflict, NoQuorum
from kvorum.interface import (
    Boolean,
    Command,
    Context,
    NodeName,
    Parameters,
    RootOnly,
    TaskLog,
    Where,
    Work,
    method,
)
from kvorum.store import Store
from kvorum.tasks import TaskRunner

LINGER_S = 3.0
"""How long who follows the task has to read its end before the daemon starts anew."""


class NewName(Parameters):
    node: NodeName = Field(description="The node's present name.")
    name: NodeName = Field(max_length=63, description="Its name from then on.")
    force: Boolean = Field(False, description="Also if other nodes are off, which follow when they are back.")


@method(
    "POST",
    "/kvorum/nodes/{node}/rename",
    permission=RootOnly(),
    where=Where.NODE,
    protected=True,
    task=True,
    commands=(Command("pvecm rename", "node", "name"),),
)
async def rename(ctx: Context, p: NewName) -> Work:
    """Give a node another name: its host name, its folder in /etc/pve, its certificate and all that names it.

    Running guests run on. Its daemons start anew, and its page shows the cluster's certificate from then on.
    """
    store, what = ctx.store, ctx.service(Renaming)
    facts = Facts(
        store.node,
        what.local.hostname(),
        store.names("nodes"),
        [member.name for member in store.membership.members if member.online],
        [f"{task.upid.type} {task.upid.id}".strip() for task in ctx.service(TaskRunner).running()],
        _migrating(store),
    )
    if refusals := rename_refusals(configuration_of(store), facts, p.name, force=p.force):
        raise Conflict("\n".join(refusals))
    if not store.membership.quorate:
        raise NoQuorum(f"no quorum, so no node can be renamed: {store.membership.reason}")
    refuse_meanwhile(ctx.service(Cluster))
    old, who = store.node, ctx.identity.name

    async def run(log: TaskLog) -> None:
        await rename_node(what, p.name, who, log.line)
        log.line(f"node '{old}' is '{p.name}' from now on; its daemons start anew")
        log.line(f"note: put '{p.name}' into the other nodes' /etc/hosts where they name '{old}'")
        daemon_anew(LINGER_S)

    return Work("noderename", p.name, run)


def _migrating(store: Store) -> list[str]:
    """The guests of all nodes that are locked for a migration."""
    found = []
    for node in store.names("nodes"):
        folder = f"nodes/{node}/qemu-server"
        for name in store.names(folder):
            file = store.read(f"{folder}/{name}")
            if file is not None and any(line.strip() == "lock: migrate" for line in file.text.splitlines()):
                found.append(name.removesuffix(".conf"))
    return found
