"""A cluster of three in memory, whose corosync connects over every link that each node can use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kvorum.cluster.relink.changer import Relinker
from kvorum.core.errors import Unreachable
from kvorum.corosync import Configuration, ConfiguredNode, new_cluster
from kvorum.interface import Peers
from kvorum.store import Expect, Member, Membership, Operation
from kvorum.store.memory import MemoryStore

NODES = ("n1", "n2", "n3")


def configuration(links: int = 2) -> Configuration:
    def node(number: int) -> ConfiguredNode:
        return ConfiguredNode(f"n{number}", number, 1, {k: f"10.{k}.0.{number}" for k in range(links)})

    made = new_cluster("home", node(1), {1: 20} if links > 1 else None)
    return made.with_node(node(2)).with_node(node(3)).with_version(5)


class PowerCut(BaseException):
    """The node that makes the change loses power here."""


class Disk(MemoryStore):
    """The store; it remembers every version of corosync.conf, and cuts the power where it is told to."""

    def __init__(self, node: str) -> None:
        super().__init__(node)
        self.versions: list[Configuration] = []
        self.moments, self.cut_at = 0, -1

    def moment(self) -> None:
        if self.moments == self.cut_at:
            raise PowerCut
        self.moments += 1

    async def transact(
        self,
        operations: Sequence[Operation],
        expect: Sequence[Expect] = (),
        *,
        who: str = "",
        timeout: float = 20.0,
    ) -> int:
        self.moment()
        done = await super().transact(operations, expect, who=who)
        file = self.read("corosync.conf")
        if file is not None and (not self.versions or self.versions[-1].text != file.text):
            self.versions.append(Configuration.read(file.text))
        self.moment()
        return done


class World(Peers):
    """The nodes as the one that changes something sees them."""

    def __init__(self) -> None:
        self.store = Disk("n1")
        self.unusable: set[str] = set()
        """Addresses over which no link comes up."""
        self.says: dict[str, list[str]] = {}
        """What nodes say when they are asked to look at addresses."""
        self.late: list[str] = []
        self.down: set[int] = set()
        self.asked: list[tuple[str, str, str]] = []
        self.log: list[str] = []
        self.online: Sequence[str] = NODES
        self.expected = 99

    async def begin(self, links: int = 2, online: Sequence[str] = NODES, text: str = "") -> None:
        await self.store.write("corosync.conf", text or configuration(links).text)
        self.online = online
        self.members(online)

    def members(self, online: Sequence[str]) -> None:
        members = tuple(
            Member(node.name, node.nodeid, node.addresses[min(node.addresses)], node.name in online)
            for node in self.now.nodes
        )
        here = sum(node.votes for node in self.now.nodes if node.name in online)
        quorate = here >= min(self.now.quorum, self.expected // 2 + 1)
        self.store.set_membership(Membership("home", members, quorate=quorate, version=1, config_version=1))

    def meet(self) -> None:
        """Who is listed at an address that it can use is here, after a while."""
        usable = [n.name for n in self.now.nodes if n.addresses[0] not in self.unusable]
        self.members([name for name in self.online if name in usable])

    def expect(self, votes: int) -> None:
        self.expected = votes
        self.meet()

    @property
    def now(self) -> Configuration:
        file = self.store.read("corosync.conf")
        assert file is not None
        return Configuration.read(file.text)

    def relinker(self) -> Relinker:
        """A daemon's: another one after each power cut."""
        return Relinker(self.store, self, self.followed, connect_s=0.0, expect=self.expect)

    async def followed(self, version: int) -> list[str]:
        self.store.moment()
        self.meet()
        return self.late

    async def call(
        self, node: str, verb: str, path: str, parameters: Mapping[str, object] | None = None, *,
        timeout: float = 10.0,
    ) -> object:  # fmt: skip
        if not any(m.name == node and m.online for m in self.store.membership.members):
            raise Unreachable(f"can't reach node '{node}'")
        if path.endswith("/check"):
            assert parameters is not None
            self.asked.append((node, str(parameters["address"]), str(parameters["others"])))
            return self.says.get(node, [])
        self.store.moment()
        own = self.now.node(node)
        assert own is not None and path.endswith("/connected")
        return {
            other.name: [
                link
                for link in own.addresses.keys() & other.addresses.keys()
                if link not in self.down and not {own.addresses[link], other.addresses[link]} & self.unusable
            ]
            for other in self.now.nodes
            if other.name != node
        }
