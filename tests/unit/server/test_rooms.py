import re

from kvorum.interface import NodeOnly, Router
from kvorum.server import rooms


def test_every_method_of_every_room_can_be_routed_and_takes_its_path() -> None:
    methods = rooms.methods()
    Router(methods)
    for method in methods:
        names = {field.alias or name for name, field in method.parameters.model_fields.items()}
        missing = set(re.findall(r"\{(\w+)\}", method.path)) - names
        assert not missing, f"{method.verb} {method.path} does not take {missing}"


def test_tasks_run_where_tasks_can_run() -> None:
    wrong = [f"{m.verb} {m.path}" for m in rooms.methods() if m.task and not m.protected]
    assert wrong == []


def test_methods_for_nodes_lie_apart_from_those_clients_know() -> None:
    wrong = [
        m.path
        for m in rooms.methods()
        if isinstance(m.permission, NodeOnly) and not m.path.startswith("/kvorum/")
    ]
    assert wrong == []
