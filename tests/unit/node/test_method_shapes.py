"""Our methods are the known ones: parameters, permissions, place, answers.

known_methods.json holds the facts of the API's schema about them (names, types, permissions; no prose).
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from stand_ins import Everything

from kvorum.cluster.node_files import ensure_node_files
from kvorum.core.errors import KvorumError
from kvorum.core.paths import Paths
from kvorum.guests import GuestRecord
from kvorum.guests.statistics import KEY as GUESTS
from kvorum.interface import (
    AllOf,
    AnyOf,
    Caller,
    Identity,
    LoggedIn,
    Method,
    Privilege,
    Requirement,
    Route,
    Router,
    Services,
    Where,
    success,
    to_json,
)
from kvorum.node.facts import Sampler
from kvorum.node.resource_rows import ResourceRows
from kvorum.server import rooms
from kvorum.store.memory import MemoryStore

pytestmark = pytest.mark.slow

KNOWN = {
    (each["method"], each["path"]): each
    for each in json.loads((Path(__file__).parent / "known_methods.json").read_text())
}
ROOMS = ("kvorum.node", "kvorum.storage", "kvorum.cluster", "kvorum.tasks")
OURS = [m for m in rooms.methods() if m.handler.__module__.startswith(ROOMS) and (m.verb, m.path) in KNOWN]
ELSEWHERE = {
    # What only this node keeps is told by this node; the known API has it on every node.
    ("GET", "/nodes/{node}/rrddata"),
    ("GET", "/nodes/{node}/qemu/{vmid}/rrddata"),
    ("GET", "/nodes/{node}/storage/{storage}/rrddata"),
    ("GET", "/nodes/{node}/rrd"),
    ("GET", "/nodes/{node}/qemu/{vmid}/rrd"),
    ("GET", "/nodes/{node}/storage/{storage}/rrd"),
}
NEED_NOT = {("POST", "/cluster/config/join", name) for name in ("fingerprint", "password")}
"""Asked for here only after the refusal has told it, so that an admin can compare; a token has both."""
BEYOND = {
    ("POST", "/cluster/config/join"): {"token", "keep-guests", "renumber"},
    ("POST", "/cluster/config/nodes/{node}"): {"brought", "withdrawal"},
    ("PUT", "/nodes/{node}/network"): {"revert-after"},
}
"""Parameters of ours, which no known client sends: a join by token, one with its guests, how long a change
of the network may take to prove itself."""
ROOT_ALONE = re.compile(r"/cluster/config.*")
"""The schema says this in prose."""


def name(method: Method) -> str:
    return f"{method.verb} {method.path}"


def required(check: Any) -> Requirement:
    """The schema's permission in our words."""
    kind, *rest = check
    if kind == "perm":
        path, names, *options = rest
        any_of = dict(zip(options[::2], options[1::2], strict=True)).get("any") == 1
        return Privilege(path, *names, any_of=any_of)
    parts = tuple(required(part) for part in rest)
    return AllOf(parts) if kind == "and" else AnyOf(parts)


@pytest.mark.parametrize("method", OURS, ids=name)
def test_parameters_are_the_known_ones(method: Method) -> None:
    known = KNOWN[method.verb, method.path]["parameters"]
    fields = {f.alias or n: f for n, f in method.parameters.model_fields.items()}
    open_ended = method.parameters.model_config.get("extra") == "allow"
    families = {n for n in known if n.endswith("[n]")}
    expected = set(known) - families
    ours = BEYOND.get((method.verb, method.path), set())
    assert fields.keys() - ours <= expected | {f"{n[:-3]}{i}" for n in families for i in range(8)}
    if not open_ended:
        assert expected <= fields.keys()
    for parameter, field in fields.items():
        facts = known.get(parameter)
        if facts is not None:
            freer = (method.verb, method.path, parameter) in NEED_NOT
            assert field.is_required() == (not facts.get("optional") and not freer), parameter


@pytest.mark.parametrize("method", OURS, ids=name)
def test_the_permission_is_the_known_one(method: Method) -> None:
    known = KNOWN[method.verb, method.path]["permissions"]
    if ROOT_ALONE.fullmatch(method.path) and method.verb != "GET":
        return
    if known is None or "check" not in known or known.get("user") == "all":
        assert isinstance(method.permission, LoggedIn)
        return
    expected = required(known["check"])
    if isinstance(expected, AnyOf):
        assert isinstance(method.permission, AnyOf)
        assert set(expected.parts) == set(method.permission.parts)
    else:
        assert method.permission == expected


@pytest.mark.parametrize("method", OURS, ids=name)
def test_it_is_carried_out_where_the_known_one_is(method: Method) -> None:
    if KNOWN[method.verb, method.path]["node"]:
        assert method.where is Where.NODE
    elif (method.verb, method.path) in ELSEWHERE:
        assert method.where is Where.NODE and method.protected


GET = [m for m in OURS if m.verb == "GET" and "{upid}" not in m.path]
VALUES = {
    "node": "n1",
    "storage": "local",
    "vmid": "100",
    "service": "cron",
    "id": "100-0",
    "sid": "vm:100",
    "group": "g",
    "rule": "r",
    "iface": "lo",
    "volume": "local:iso/x.iso",
}
QUERY = {
    "timeframe": "hour",
    "schedule": "*/15",
    "ds": "cpu",
    "volume": "local:import/x.ova",
}
ABSENT = re.compile(
    r".*(\{(id|sid|group|rule|iface|volume)\}|/included_volumes|/config/join|/import-metadata)"
)
"""Asking for what does not exist is refused with a sentence."""
NEEDS = re.compile(r".*/services.*|.*/(journal|syslog)|.*/rrd")
"""What the machine of the tests may not have: a systemd to talk to, a journal, a history."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def calls(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Caller, Router]]:
    """All rooms' services on a store in memory, and who calls them."""
    paths, store, services = Paths.under(tmp_path_factory.mktemp("node")), MemoryStore("n1"), Services()
    await ensure_node_files(store, paths, addresses=["127.0.0.1"])
    await store.write("nodes/n1/qemu-server/100.conf", "name: web\nmemory: 64\n")
    await store.write("jobs.cfg", "vzdump: backup-1\n\tall 1\n\tnode n9\n\tschedule sat 02:00\n")
    await store.write("replication.cfg", "local: 100-0\n\ttarget n2\n")
    services.add(ResourceRows, ResourceRows(store))
    async with rooms.services(services, store, paths):
        guest = GuestRecord(vmid=100, name="web", status="running", cpus=2, cpu=0.5, mem=7, maxmem=8)
        await store.publish(GUESTS, msgspec.msgpack.encode([guest]))
        services.get(Sampler).sample()
        yield Caller(store, services, Everything()), Router(rooms.methods())


@pytest.mark.parametrize("method", GET, ids=name)
@pytest.mark.asyncio(loop_scope="module")
async def test_the_answer_has_the_known_shape(method: Method, calls: tuple[Caller, Router]) -> None:
    caller, router = calls
    path = re.sub(r"\{(\w+)\}", lambda match: VALUES[match[1]], method.path)
    match = router.match("GET", path)
    assert isinstance(match.target, Route) and match.target.method is method
    fields = {f.alias or n: f for n, f in method.parameters.model_fields.items()}
    given = [(n, QUERY[n]) for n, f in fields.items() if f.is_required() and n not in match.values]
    try:
        body = to_json(success(await caller.call(match, Identity("root@pam"), given)))
    except KvorumError as error:
        assert error.code != 501 and str(error)
        assert ABSENT.fullmatch(method.path) or NEEDS.fullmatch(method.path), error
        return
    compare(msgspec.json.decode(body).get("data"), KNOWN[method.verb, method.path]["returns"], "data")


def compare(value: Any, known: dict[str, Any], where: str) -> None:
    """Fail where a value is not of the known type, lacks a field, or has a foreign word."""
    kind = known.get("type")
    if value is None or kind is None:
        return
    if kind == "array":
        assert isinstance(value, list), where
        for number, item in enumerate(value):
            compare(item, known.get("items", {}), f"{where}[{number}]")
    elif kind == "object":
        assert isinstance(value, dict), where
        for key, facts in known.get("properties", {}).items():
            if key in value:
                compare(value[key], facts, f"{where}.{key}")
            else:
                assert facts.get("optional") or key.startswith("{"), f"{where} lacks {key}"
    elif kind == "integer":
        assert isinstance(value, int) or str(value).lstrip("-").isdigit(), f"{where} is {value!r}"
    elif kind == "number":
        assert isinstance(value, int | float), f"{where} is {value!r}"
    elif kind == "boolean":
        assert value in (0, 1), f"{where} is {value!r}"
    elif kind == "string":
        assert isinstance(value, str), f"{where} is {value!r}"
    if known.get("enum") and kind != "array":
        assert value in known["enum"], f"{where} is {value!r}"
