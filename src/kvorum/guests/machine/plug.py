"""CPUs and memory of a running guest, plugged and unplugged.

CPUs come and go in QEMU's own order, memory in modules of fixed sizes (``memory.py``): after any history the
guest has what a new command line gives it for the same amount, which is what a migration's target builds.
"""

from __future__ import annotations

import contextlib

from kvorum.core.errors import KvorumError
from kvorum.guests.config import GuestConfig
from kvorum.guests.errors import GuestError, QmpError
from kvorum.guests.machine.memory import Dimm, dimms
from kvorum.guests.machine.qmp import Monitor

UNPLUG_DEADLINE_S = 5.0
"""A guest without a driver for it never lets a device go."""
_REFUSED = ("DEVICE_UNPLUG_GUEST_ERROR", "MEM_UNPLUG_ERROR")


async def unplug(monitor: Monitor, device: str) -> None:
    """Ask the guest to let a device go, named so or by its path in QEMU's tree, and wait until it has.

    Raises ``GuestError`` when the guest does not.
    """
    async with monitor.listen("DEVICE_DELETED", *_REFUSED) as events:
        await monitor.execute("device_del", {"id": device})
        try:
            event = await events.until(
                lambda e: device in (e.data.get("device"), e.data.get("path")), UNPLUG_DEADLINE_S
            )
        except TimeoutError:
            raise GuestError(
                f"{device}: the guest did not let it go within {UNPLUG_DEADLINE_S:g} s"
            ) from None
        if event.name != "DEVICE_DELETED":
            raise GuestError(f"{device}: the guest refuses to let it go")


async def change_cpus(monitor: Monitor, wanted: int, accelerator: str) -> None:
    """Give the guest so many CPUs. Raises ``GuestError`` when it keeps one, and it has those that it had."""
    slots = await _cpu_slots(monitor)
    had = sum("qom-path" in slot for slot in slots)
    if not 1 <= wanted <= len(slots):
        raise GuestError(f"vcpus: the guest has room for {len(slots)} CPUs; {wanted} need a new start")
    if wanted < had and accelerator == "tcg":
        # QEMU 10 counts a TCG thread for each CPU it ever had, and aborts at the next one that is plugged.
        raise GuestError(f"vcpus: the guest keeps its {had} CPUs: without KVM, QEMU can't take one back")
    try:
        for slot in slots[had:wanted]:
            await _plug_cpu(monitor, slot)
        for slot in reversed(slots[wanted:had]):
            await unplug(monitor, str(slot["qom-path"]))
    except (KvorumError, TimeoutError) as error:
        for slot in (await _cpu_slots(monitor))[:had]:
            if "qom-path" not in slot:
                await _plug_cpu(monitor, slot)
        raise GuestError(f"vcpus: the guest keeps its {had} CPUs: {error}") from error


async def _cpu_slots(monitor: Monitor) -> list[dict[str, object]]:
    """Where CPUs are and can be, in the order in which QEMU fills them."""
    return sorted(await monitor.execute("query-hotpluggable-cpus"), key=_place)


async def _plug_cpu(monitor: Monitor, slot: dict[str, object]) -> None:
    place = slot["props"]
    assert isinstance(place, dict)
    name = "cpu-" + "-".join(str(number) for number in _place(slot))
    place = {key: value for key, value in place.items() if key != "node-id"}
    await monitor.execute("device_add", {"driver": slot["type"], "id": name, **place})


def _place(slot: dict[str, object]) -> tuple[int, ...]:
    place = slot["props"]
    assert isinstance(place, dict)
    keys = ("socket-id", "die-id", "module-id", "core-id", "thread-id")
    return tuple(int(place[key]) for key in keys if key in place)


async def change_memory(monitor: Monitor, now: GuestConfig, then: GuestConfig) -> None:
    """Give the guest the memory of ``then``; ``now`` is what it has.

    Raises ``GuestError`` when the guest keeps a module; it has what it had then.
    """
    before, after = dimms(now), dimms(then)
    done: list[Dimm] = []
    try:
        for dimm in after[len(before) :]:
            await _plug_dimm(monitor, dimm)
            done.append(dimm)
        for dimm in reversed(before[len(after) :]):
            await _unplug_dimm(monitor, dimm)
            done.append(dimm)
    except (KvorumError, TimeoutError):
        for dimm in reversed(done):
            with contextlib.suppress(KvorumError, TimeoutError):
                await (_unplug_dimm if len(after) > len(before) else _plug_dimm)(monitor, dimm)
        raise


async def _plug_dimm(monitor: Monitor, dimm: Dimm) -> None:
    backend = f"mem-{dimm.name}"
    size = {"size": dimm.mib << 20}
    await monitor.execute("object-add", {"qom-type": "memory-backend-ram", "id": backend, **size})
    try:
        await monitor.execute(
            "device_add", {"driver": "pc-dimm", "id": dimm.name, "memdev": backend, "node": 0}
        )
    except BaseException:
        with contextlib.suppress(QmpError):
            await monitor.execute("object-del", {"id": backend})
        raise


async def _unplug_dimm(monitor: Monitor, dimm: Dimm) -> None:
    await unplug(monitor, dimm.name)
    await monitor.execute("object-del", {"id": f"mem-{dimm.name}"})
