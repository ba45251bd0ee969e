"""A node follows the cluster's corosync.conf: reloads it with the others, takes it back, catches up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from stand_ins import Everything, Lines

from kvorum.cluster import following
from kvorum.cluster.change import Cluster, cluster_on
from kvorum.cluster.following import STAGED_KEY, VERSION_KEY, CorosyncConfiguration
from kvorum.cluster.host import Host
from kvorum.cluster.methods import votes
from kvorum.cluster.methods.votes import NewVotes, Votes
from kvorum.cluster.relink.readdress import Readdress
from kvorum.cluster.relink.under_way import FILE, UnderWay
from kvorum.cluster.sequence import State
from kvorum.cluster.trial import COME_BACK_S, Seen
from kvorum.core.errors import Conflict, KvorumError, ParameterError, Unreachable
from kvorum.core.paths import Paths
from kvorum.corosync import Configuration, ConfiguredNode, CorosyncBusy, CorosyncGone, new_cluster
from kvorum.interface import Context, Identity, Peers, Services
from kvorum.store import Member, Membership
from kvorum.store.corosync_conf import REFUSED
from kvorum.store.memory import MemoryStore

N1, N2 = Member("n1", 1, "10.0.0.1", True), Member("n2", 2, "10.0.0.2", True, 1)
OLD = (
    new_cluster("home", ConfiguredNode("n1", 1, 2, {0: "10.0.0.1"}))
    .with_node(ConfiguredNode("n2", 2, 1, {0: "10.0.0.2"}))
    .with_version(5)
)
NEW = OLD.with_votes("n1", 1).bumped()


class Corosync:
    """This node's: what it runs, and what it says."""

    def __init__(self, host: Host) -> None:
        self.host, self.running, self.reloads = host, 5, 0
        self.quorate, self.present = True, frozenset({1, 2})
        self.refuses = False

    def version(self) -> int | None:
        return self.running

    def reload(self) -> None:
        self.reloads += 1
        if self.refuses:
            raise KvorumError("corosync did not reload its configuration: no")
        self.running = Configuration.read(self.host.configuration.read_text()).config_version

    def see(self) -> Seen:
        return Seen(self.running, self.quorate, self.present)


class Others(Peers):
    def __init__(self, answers: Mapping[str, str]) -> None:
        self.answers = answers

    async def call(
        self, node: str, verb: str, path: str, parameters: Mapping[str, object] | None = None, *,
        timeout: float = 10.0,
    ) -> object:  # fmt: skip
        if node not in self.answers:
            raise Unreachable(f"can't reach node '{node}'")
        return self.answers[node]


@pytest.fixture
async def store() -> MemoryStore:
    store = MemoryStore("n1", Membership("home", (N1, N2), quorate=True, version=1, config_version=5))
    await store.write("corosync.conf", OLD.text)
    store._published.setdefault(VERSION_KEY, {})["n2"] = (b"99", 1e12)
    return store


@pytest.fixture
def cluster(store: MemoryStore, tmp_path: Path) -> Cluster:
    made = cluster_on(store, Paths.under(tmp_path))
    made.host.write_authkey(b"secret")
    made.host.write_configuration(OLD.text)
    return made


@pytest.fixture
def corosync(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Corosync:
    it = Corosync(cluster.host)
    monkeypatch.setattr(following, "running_version", it.version)
    monkeypatch.setattr(following, "_reload", it.reload)
    monkeypatch.setattr(following, "see", it.see)
    return it


def local(cluster: Cluster) -> Configuration:
    return Configuration.read(cluster.host.configuration.read_text())


def stored(store: MemoryStore) -> Configuration:
    file = store.read("corosync.conf")
    assert file is not None
    return Configuration.read(file.text)


async def test_a_change_is_reloaded_when_every_present_node_has_it_on_disk(
    store: MemoryStore, cluster: Cluster, corosync: Corosync, monkeypatch: pytest.MonkeyPatch
) -> None:
    store._published[VERSION_KEY]["n2"] = (b"5", 1e12)
    waited = []

    async def wait(seconds: float) -> None:
        waited.append(corosync.reloads)
        if len(waited) == 3:
            store._published.setdefault(STAGED_KEY, {})["n2"] = (b"6", 1e12)

    monkeypatch.setattr(following.asyncio, "sleep", wait)
    await store.write("corosync.conf", NEW.text)
    await CorosyncConfiguration.of(cluster, None).apply_and_tell()
    assert waited == [0, 0, 0] and corosync.reloads == 1
    assert store.published(VERSION_KEY)["n1"] == b"6"


async def test_what_does_not_come_back_quorate_is_taken_back_and_brought_to_the_store(
    store: MemoryStore, cluster: Cluster, corosync: Corosync, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[str] = []
    follower = CorosyncConfiguration.of(cluster, None, notes.append)
    await store.write("corosync.conf", NEW.text)
    await follower.apply_and_tell()
    corosync.quorate, corosync.present = False, frozenset({1})
    lost = Membership("home", (N1,), quorate=False, version=2, reason="no quorum")
    store.set_membership(lost)
    await follower.try_on()
    assert corosync.running == 6

    # the daemon dies and starts anew: the trial goes on, and its time begins again
    follower = CorosyncConfiguration.of(cluster, None, notes.append)
    begun = following.time.monotonic()
    monkeypatch.setattr(following.time, "monotonic", lambda: begun + COME_BACK_S + 1)
    await follower.try_on()
    assert corosync.running == 7 and local(cluster).text == OLD.with_version(7).text
    await follower.try_on()
    assert stored(store).config_version == 6, "the store can't be written yet"
    await follower.apply_and_tell()
    assert local(cluster).config_version == 7, "what was taken back is not applied again"

    store.set_membership(Membership("home", (N1,), quorate=True, version=3))
    await follower.try_on()
    assert stored(store).text == OLD.with_version(7).text
    assert "version 6 of corosync.conf was taken back" in store.published(REFUSED)["n1"].decode()
    follower._note_refusals()
    follower._note_refusals()
    assert len(notes) == 1
    assert not (cluster.paths.state / "corosync-trial.json").exists()


async def test_what_corosync_itself_refuses_is_given_back_everywhere(
    store: MemoryStore, cluster: Cluster, corosync: Corosync
) -> None:
    corosync.refuses = True
    await store.write("corosync.conf", NEW.text)
    await CorosyncConfiguration.of(cluster, None).apply_and_tell()
    assert local(cluster).text == OLD.text, "a restart must find what runs"
    assert stored(store).text == OLD.with_version(7).text
    assert "corosync refused version 6" in store.published(REFUSED)["n1"].decode()


async def test_a_busy_corosync_is_asked_again_and_has_refused_nothing(
    store: MemoryStore, cluster: Cluster, corosync: Corosync, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # the real reload, of a corosync that is busy twice
    monkeypatch.setattr(following, "running_version", corosync.version)
    busy = iter((True, True, False))

    class Busy:
        def __enter__(self) -> Busy:
            return self

        def __exit__(self, *_: object) -> None: ...

        def reload(self) -> None:
            if next(busy):
                raise CorosyncBusy("corosync_cfg_reload_config", "CS_ERR_TRY_AGAIN")
            corosync.reload()

    monkeypatch.setattr(following, "Cfg", Busy)
    await store.write("corosync.conf", NEW.text)
    follower = CorosyncConfiguration.of(cluster, None)
    await follower.apply_and_tell()
    assert corosync.running == NEW.config_version and stored(store).text == NEW.text

    def ended() -> None:
        raise CorosyncGone("corosync_cfg_initialize", "CS_ERR_LIBRARY")

    newer = NEW.bumped()
    monkeypatch.setattr(following, "Cfg", ended)
    await store.write("corosync.conf", newer.text)
    await follower.apply_and_tell()
    assert local(cluster).text == stored(store).text == newer.text, "it is reloaded when corosync is back"


async def test_a_node_that_left_is_not_listed_again_whatever_corosync_says(
    store: MemoryStore, cluster: Cluster, corosync: Corosync
) -> None:
    corosync.refuses = True
    without = OLD.without_node("n2").bumped()
    await store.write("corosync.conf", without.text)
    follower = CorosyncConfiguration.of(cluster, None)
    await follower.apply_and_tell()
    assert stored(store).text == local(cluster).text == without.text
    corosync.refuses = False
    await follower.apply_and_tell()
    assert corosync.running == without.config_version


@pytest.mark.parametrize(
    ("answers", "version"),
    [
        ({"n2": OLD.with_version(9).text}, 9),
        ({"n2": OLD.with_version(4).text}, 5),
        ({"n2": OLD.with_version(9).text.replace("cluster_name: home", "cluster_name: other")}, 5),
        ({"n2": "totem {"}, 5),
        ({"n2": OLD.without_node("n1").with_version(9).text}, 5),
        ({}, 5),
    ],
)
async def test_a_node_that_was_off_takes_a_peers_newer_version(
    cluster: Cluster,
    corosync: Corosync,
    monkeypatch: pytest.MonkeyPatch,
    answers: dict[str, str],
    version: int,
) -> None:
    started: list[int] = []

    async def restart() -> None:
        started.append(local(cluster).config_version)

    monkeypatch.setattr(cluster.host, "restart_corosync", restart)
    follower = CorosyncConfiguration.of(cluster, Others(answers))
    await follower.catch_up()
    assert not started, "corosync runs: nothing to catch up with"
    monkeypatch.setattr(following, "running_version", lambda: None)
    await follower.catch_up()
    assert local(cluster).config_version == version
    assert started == ([version] if version > 5 else [])


async def test_corosync_that_was_thrown_out_is_started_when_the_store_brought_the_version(
    store: MemoryStore, cluster: Cluster, corosync: Corosync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It met the others with version 5, and the new one came through the store before a peer was asked."""
    started: list[int] = []

    async def restart() -> None:
        started.append(local(cluster).config_version)

    monkeypatch.setattr(cluster.host, "restart_corosync", restart)
    monkeypatch.setattr(following, "running_version", lambda: None)
    await store.write("corosync.conf", NEW.text)
    follower = CorosyncConfiguration.of(cluster, Others({"n2": NEW.text}))
    await follower.apply_and_tell()
    assert not started and local(cluster).text == NEW.text
    for _ in range(following.STARTS_MOST + 1):
        await follower.catch_up()
    assert started == [NEW.config_version] * following.STARTS_MOST, "it is tried, but not for ever"


async def test_corosync_stays_off_while_this_node_leaves(
    store: MemoryStore, cluster: Cluster, corosync: Corosync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last version may still be on trial: to start corosync again would leave a cluster of one behind."""
    started: list[int] = []

    async def restart() -> None:
        started.append(local(cluster).config_version)

    class BeginsMeanwhile(Others):
        async def call(self, *words: Any, **more: Any) -> object:
            await cluster.changing.acquire()
            return await super().call(*words, **more)

    monkeypatch.setattr(cluster.host, "restart_corosync", restart)
    monkeypatch.setattr(following, "running_version", lambda: None)
    await store.write("corosync.conf", NEW.text)
    follower = CorosyncConfiguration.of(cluster, Others({"n2": NEW.text}))
    await follower.apply_and_tell()
    async with cluster.changing:
        await follower.catch_up()
    cluster.journal.save("leave", State(), {})
    await follower.catch_up()
    cluster.journal.clear()
    await CorosyncConfiguration.of(cluster, BeginsMeanwhile({"n2": NEW.text})).catch_up()
    assert not started
    cluster.changing.release()
    await follower.catch_up()
    assert started, "and it is started when nothing is under way"


async def test_votes_change_by_steps_of_one_and_say_what_they_come_to(
    store: MemoryStore, cluster: Cluster, corosync: Corosync, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def followed(store: MemoryStore, version: int) -> list[str]:
        return []

    monkeypatch.setattr(following, "wait_until_followed", followed)
    services = Services()
    services.add(Cluster, cluster)
    ctx = Context(store, services, Identity("root@pam"), Everything())
    log = Lines()
    work = await votes.set_votes(ctx, Votes(node="n1", votes=4))
    await work.run(log)
    assert stored(store).config_version == 7 and stored(store).nodes[0].votes == 4
    assert "n1 has 4 votes: 5 in all, 3 make a quorum" in log.text
    assert "note: n1 has 4 of 5 votes" in log.text
    with pytest.raises(ParameterError, match="the cluster has no node 'n9', only: n1, n2"):
        await votes.set_votes(ctx, Votes(node="n9", votes=1))


async def test_votes_that_cost_the_present_nodes_their_quorum_are_refused(store: MemoryStore) -> None:
    store.set_membership(Membership("home", (N1,), quorate=True, version=2))
    ctx = Context(store, Services(), Identity("root@pam"), Everything())
    with pytest.raises(Conflict, match="would have 1 of the 2 votes needed"):
        await votes.set_votes(ctx, Votes(node="n1", votes=1))
    assert stored(store).text == OLD.text


async def test_what_votes_come_to_is_told_before_they_are_changed(store: MemoryStore) -> None:
    ctx = Context(store, Services(), Identity("root@pam"), Everything())
    told = await votes.forecast(ctx, NewVotes(node="n2", votes=2))
    assert (told["total"], told["needed"], told["present"]) == (4, 3, 4)
    assert [caution["kind"] for caution in told["cautions"]] == ["same-votes", "one-link"]
    assert told["refusals"] == []
    store.set_membership(Membership("home", (N1,), quorate=True, version=2))
    told = await votes.forecast(ctx, NewVotes(node="n1", votes=0))
    assert ["would have 1 of the 2 votes needed" in refusal for refusal in told["refusals"]] == [True]
    assert stored(store).text == OLD.text, "nothing is changed by asking"
    with pytest.raises(ParameterError, match="the cluster has no node 'n9', only: n1, n2"):
        await votes.forecast(ctx, NewVotes(node="n9", votes=1))


async def test_votes_stop_where_a_node_does_not_follow(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def late(store: MemoryStore, version: int) -> list[str]:
        return ["n2"]

    monkeypatch.setattr(following, "wait_until_followed", late)
    with pytest.raises(KvorumError, match="corosync on n2 does not run version 6"):
        await votes.change_votes(store, Votes(node="n1", votes=5), "root@pam", Lines())
    assert stored(store).nodes[0].votes == 3


# Another address on link 0


def moving() -> Readdress:
    listed = OLD.node("n1")
    assert listed is not None
    return Readdress.of(OLD, listed, "10.0.0.11")


ASIDE = OLD.without_node("n1").bumped()
ANEW = Configuration.read(OLD.text.replace("10.0.0.1\n", "10.0.0.11\n")).with_version(7)


@pytest.fixture
def stopped(cluster: Cluster, corosync: Corosync, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done to corosync's unit."""
    done: list[str] = []

    async def pause(self: Host) -> None:
        """It starts at boot as ever, also after a power cut in between."""
        done.append("pause")
        corosync.running = None  # type: ignore[assignment]

    async def restart(self: Host) -> None:
        done.append("restart")
        corosync.running = local(cluster).config_version

    monkeypatch.setattr(Host, "pause_corosync", pause)
    monkeypatch.setattr(Host, "restart_corosync", restart)
    return done


async def test_a_node_stands_aside_until_the_others_list_it_with_its_other_address(
    store: MemoryStore, cluster: Cluster, corosync: Corosync, stopped: list[str]
) -> None:
    others = Others({})
    follower = CorosyncConfiguration.of(cluster, others)
    await follower.stand_aside()
    assert stopped == []
    await store.write(FILE, UnderWay(moving(), "n2").text())
    await store.write("corosync.conf", ASIDE.text)
    await follower.apply_and_tell()
    await follower.stand_aside()
    await follower.catch_up()
    assert stopped == ["pause"] and local(cluster).text == OLD.text
    assert follower._pause() == following.TRIAL_EVERY_S, "it asks often now"
    others.answers = {"n2": ASIDE.text}
    await follower.catch_up()
    assert stopped == ["pause"]
    others.answers = {"n2": ANEW.text}
    await follower.catch_up()
    await follower.stand_aside()
    assert stopped == ["pause", "restart"] and local(cluster).text == ANEW.text


async def test_a_node_that_is_no_part_of_an_unended_change_stays(
    store: MemoryStore, cluster: Cluster, corosync: Corosync, stopped: list[str]
) -> None:
    listed = OLD.node("n2")
    assert listed is not None
    await store.write(FILE, UnderWay(Readdress.of(OLD, listed, "10.0.0.22"), "n1").text())
    await store.write("corosync.conf", OLD.without_node("n2").bumped().text)
    await CorosyncConfiguration.of(cluster, None).stand_aside()
    assert stopped == []


async def test_a_corosync_that_meets_nobody_is_started_with_the_version_that_the_others_have(
    store: MemoryStore,
    cluster: Cluster,
    corosync: Corosync,
    stopped: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The others expect this node at another address, and it never heard of that."""
    follower = CorosyncConfiguration.of(cluster, Others({"n2": ANEW.text}))
    store.set_membership(Membership("home", (N1,), quorate=False, version=2, reason="no quorum"))
    corosync.quorate = False
    await follower.catch_up()
    assert stopped == [], "it may only have to wait"
    begun = following.time.monotonic()
    monkeypatch.setattr(following.time, "monotonic", lambda: begun + following.CUT_OFF_S + 1)
    corosync.quorate = True
    await follower.catch_up()
    assert stopped == [], "corosync has quorum: the store follows by itself"
    corosync.quorate = False
    await CorosyncConfiguration.of(cluster, Others({"n2": OLD.text})).catch_up()
    await follower.catch_up()
    assert stopped == ["restart"] and local(cluster).text == ANEW.text
