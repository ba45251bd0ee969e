"""The simulation sees each of these ways to break the protocol: a test of the tests.

Each mutation takes one sentence of the protocol back; some seed of a bounded number must fail.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
import store_world as world
from msgspec.structs import replace

from kvorum.store.protocol import Clock, Replica, messages, views
from kvorum.store.protocol.leases import Leases
from kvorum.store.protocol.member import Phase
from kvorum.store.protocol.order import Kept, Order
from kvorum.store.protocol.owing import Owing, Telling
from kvorum.store.protocol.requests import Requests

Patch = pytest.MonkeyPatch


def answer_when_the_first_has_it(patch: Patch) -> None:
    def on_disk_at(self: Replica, sender: int, message: messages.OnDisk) -> None:
        if self._in_view(message.view):
            self._wishes.effects += self._requests.on_disk(message.place)

    patch.setattr(Replica, "_on_disk_at", on_disk_at)


def say_on_disk_before_it_is(patch: Patch) -> None:
    take = Replica._take

    def hasty(self: Replica, ordered: messages.Ordered) -> None:
        take(self, ordered)
        self._wishes.send(messages.OnDisk(self.view.number, self._order.place))

    patch.setattr(Replica, "_take", hasty)


def begin_views_without_an_entry(patch: Patch) -> None:
    begin_view = Replica._begin_view

    def quiet(self: Replica) -> None:
        last = self._round.lead.last_view
        begin_view(self)
        self._entries.last_view = last

    patch.setattr(Replica, "_begin_view", quiet)


def go_by_quorum_alone(patch: Patch) -> None:
    judge = views.judge

    def lax(states: dict, ballots: dict) -> views.Verdict:
        verdict = judge(states, ballots)
        return views.Verdict(verdict.count.firm, verdict.count, verdict.reason, verdict.newest)

    patch.setattr(views, "judge", lax)


def count_the_qdevice_at_once(patch: Patch) -> None:
    patch.setattr(views.Count, "firm", property(lambda count: count.quorate))


def send_all_again_after_a_change(patch: Patch) -> None:
    def resume(self: Requests, origin: object, version: int) -> None:
        self._flying.clear()
        self._after = 0
        self._unsent = deque(self._pending)

    patch.setattr(Requests, "resume", resume)
    carry_out = Replica._carry_out

    def forgetful(self: Replica, turn: messages.Ordered, change: messages.Change) -> None:
        self._entries.origins.pop(change.origin, None)
        carry_out(self, turn, change)

    patch.setattr(Replica, "_carry_out", forgetful)


def ignore_the_clock(patch: Patch) -> None:
    step = Replica.step
    patch.setattr(Replica, "step", lambda self, e: [] if isinstance(e, Clock) else step(self, e))


def promise_that_a_lost_request_never_happened(patch: Patch) -> None:
    give_up = Requests._give_up

    def sure(self: Requests, pending: object, reason: str) -> object:
        pending.sent = False  # type: ignore[attr-defined]
        return give_up(self, pending, reason)  # type: ignore[arg-type]

    patch.setattr(Requests, "_give_up", sure)


def whisper_before_it_is_on_disk(patch: Patch) -> None:
    patch.setattr(Owing, "synced", lambda self, version: Telling(alone=tuple(self._alone)))
    take = Replica._take

    def hasty(self: Replica, ordered: messages.Ordered) -> None:
        take(self, ordered)
        self._tell_synced(self._order.place)

    patch.setattr(Replica, "_take", hasty)


def leave_it_at_the_whisper(patch: Patch) -> None:
    patch.setattr(Replica, "_on_ask", lambda self, sender, ask: None)


def leave_what_is_ordered_at_the_whisper(patch: Patch) -> None:
    patch.setattr(Replica, "_on_lack", lambda self, sender, lack: None)


def leave_what_is_to_be_ordered_at_the_whisper(patch: Patch) -> None:
    patch.setattr(Requests, "unjudged", property(lambda self: []))


def take_changes_as_they_come(patch: Patch) -> None:
    def take(self: Order, ordered: messages.Ordered) -> Iterator[messages.Ordered]:
        if ordered.number > self.place:
            self.place = ordered.number
            yield ordered

    patch.setattr(Order, "take", take)


def order_changes_as_they_come(patch: Patch) -> None:
    admit = Order.admit

    def hasty(self: Order, view: int, sender: int, message: messages.Changes) -> Iterator[Kept]:
        return admit(self, view, sender, replace(message, after=self._admitted[sender]))

    patch.setattr(Order, "admit", hasty)


def go_on_with_the_order_of_an_earlier_view(patch: Patch) -> None:
    patch.setattr(Replica, "_in_view", lambda self, number: self._phase is Phase.ACTIVE)


def send_more_before_the_last_are_everywhere(patch: Patch) -> None:
    def landed(self: Requests, seq: int, place: int) -> None:
        self._flying = deque(one for one in self._flying if one.message.changes[-1].seq > seq)

    patch.setattr(Requests, "landed", landed)


def give_leases_where_nobody_remembers(patch: Patch) -> None:
    patch.setattr(Leases, "forgotten_for", property(lambda self: 0.0))


def take_a_lease_without_waiting(patch: Patch) -> None:
    def follows(self: Leases, name: str, owner: str) -> int:
        held = self._leases.get(name)
        return held.number if held else 0

    patch.setattr(Leases, "follows", follows)


@dataclass(frozen=True)
class Mutation:
    mutate: Callable[[Patch], None]
    seeds: int = 100
    shape: dict[str, int | bool] = field(default_factory=dict)


QDEVICE = {"size": 2, "qdevice": True, "steps": 600}
MUTATIONS = [
    Mutation(answer_when_the_first_has_it),
    Mutation(say_on_disk_before_it_is),
    Mutation(begin_views_without_an_entry),
    Mutation(go_by_quorum_alone, 200, QDEVICE),
    Mutation(count_the_qdevice_at_once, 200, QDEVICE),
    Mutation(send_all_again_after_a_change),
    Mutation(promise_that_a_lost_request_never_happened),
    Mutation(whisper_before_it_is_on_disk),
    Mutation(leave_it_at_the_whisper),
    Mutation(leave_what_is_ordered_at_the_whisper),
    Mutation(leave_what_is_to_be_ordered_at_the_whisper),
    Mutation(take_changes_as_they_come),
    Mutation(order_changes_as_they_come),
    Mutation(go_on_with_the_order_of_an_earlier_view),
    Mutation(send_more_before_the_last_are_everywhere, 500),
    Mutation(give_leases_where_nobody_remembers, 100, {"size": 1, "steps": 400}),
    Mutation(take_a_lease_without_waiting),
]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.mutate.__name__)
def test_the_simulation_catches(mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    mutation.mutate(monkeypatch)
    for seed in range(mutation.seeds):
        try:
            world.run(seed, **mutation.shape)
        except Exception as error:
            print(f"caught by seed {seed}: {error!r}"[:300])
            return
    raise AssertionError(f"{mutation.seeds} seeds saw nothing wrong")
