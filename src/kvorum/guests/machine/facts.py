"""What this node's QEMU can do: its version, its machine types, and the accelerator that works."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from kvorum.guests.errors import StartFailed
from kvorum.guests.machine import accelerator
from kvorum.guests.machine.commandline import NodeFacts

BINARY = "qemu-system-x86_64"
_DEADLINE_S = 20.0


async def find_facts(run: Path, binary: str = BINARY) -> NodeFacts:
    """Ask QEMU once, at the daemon's start; ``run`` keeps the accelerator's probe for this boot.

    Raises ``StartFailed`` when QEMU is not installed or does not answer.
    """
    found, asked = await asyncio.gather(accelerator.find(binary, run / "accelerator.json"), _ask(binary))
    version, machines, types, has_spice = asked
    return NodeFacts(binary, version, found.name, machines, found.reason, types, has_spice)


async def _ask(binary: str) -> tuple[str, dict[str, str], frozenset[str], bool]:
    """QEMU's version, the versioned types behind ``pc`` and ``q35``, all types, and whether it has SPICE: by
    QMP over its standard output."""
    commands: dict[str, dict[str, str]] = {
        "qmp_capabilities": {},
        "query-machines": {},
        "device-list-properties": {"typename": "qxl-vga"},
        "quit": {},
    }
    script = "".join(
        json.dumps({"execute": name, "id": name, "arguments": given}) + "\n"
        for name, given in commands.items()
    )
    try:
        process = await asyncio.create_subprocess_exec(
            *(binary, "-machine", "none", "-nodefaults", "-no-user-config", "-display", "none", "-S"),
            *("-qmp", "stdio"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise StartFailed(f"'{binary}' can't be run: {error.strerror}; install qemu-system-x86") from error
    try:
        output, errors = await asyncio.wait_for(process.communicate(script.encode()), _DEADLINE_S)
    except TimeoutError:
        raise StartFailed(f"'{binary}' did not answer within {_DEADLINE_S:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    version, machines, has_spice = "", {}, False
    types: frozenset[str] = frozenset()
    for line in output.splitlines():
        message = json.loads(line)
        if "QMP" in message:
            numbers = message["QMP"]["version"]["qemu"]
            version = f"{numbers['major']}.{numbers['minor']}.{numbers['micro']}"
        elif message.get("id") == "query-machines":
            machines = {m["alias"]: m["name"] for m in message["return"] if "alias" in m}
            types = frozenset(m["name"] for m in message["return"])
        elif message.get("id") == "device-list-properties":
            has_spice = "return" in message  # a module of its own, which a node need not have
    if not version or "pc" not in machines:
        raise StartFailed(
            f"'{binary}' does not say what it can do: {errors.decode(errors='replace').strip()}"
        )
    found = {alias: machines[alias] for alias in ("pc", "q35") if alias in machines}
    return version, found, types, has_spice
