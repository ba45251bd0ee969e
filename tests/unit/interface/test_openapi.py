from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

from pydantic import Field, create_model

from kvorum.interface import (
    Anyone,
    Boolean,
    LoggedIn,
    Method,
    NodeOnly,
    Page,
    Parameters,
    Router,
    Vmid,
    Where,
    Work,
)
from kvorum.interface.openapi import directories, document
from kvorum.interface.reference import pages
from kvorum.interface.result_schema import result_schema


class Row(TypedDict):
    vmid: int
    running: bool
    name: str | None
    lock: NotRequired[str]


@dataclass
class Plain:
    size: float
    tags: list[str]


class Find(Parameters):
    node: str
    vmid: Vmid | None = None
    full: Boolean = Field(False, description="All of it.")


Disks: Any = create_model(
    "Disks", __base__=Find, **{f"net{n}": (str | None, None) for n in range(12)}, memory=(int, ...)
)


def declare(verb: str, path: str, **changes: object) -> Method:
    values: dict[str, Any] = {
        "handler": None, "parameters": Find, "result": Page[Row], "permission": LoggedIn(),
        "where": Where.NODE, "protected": True, "task": False, "allow_token": True, "summary": "Do it.",
    }  # fmt: skip
    return Method(verb=verb, path=path, **{**values, **changes})


METHODS = (
    declare("GET", "/nodes/{node}/x/list"),
    declare("POST", "/nodes/{node}/x/list", parameters=Disks, result=Work, task=True),
    declare("GET", "/open", permission=Anyone(), where=Where.ANY, protected=False),
    declare("POST", "/inner/{node}/word", permission=NodeOnly()),
)


def test_answers_are_described_as_they_are_written() -> None:
    assert result_schema(list[Row]) == {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "vmid": {"type": "integer"},
                "running": {"type": "integer", "enum": [0, 1]},
                "name": {"type": "string"},
                "lock": {"type": "string"},
            },
            "required": ["vmid", "running"],
        },
    }
    assert result_schema(Plain)["required"] == ["size", "tags"]
    assert result_schema(dict[str, object]) == {"type": "object", "additionalProperties": {}}
    assert result_schema(Work)["pattern"] == "^UPID:"


def test_a_method_is_described_from_its_declaration_alone() -> None:
    found = document(METHODS, "1")
    get = found["paths"]["/nodes/{node}/x/list"]["get"]
    assert [(p["name"], p["in"], p["required"]) for p in get["parameters"]] == [
        ("node", "path", True), ("vmid", "query", False), ("full", "query", False),
    ]  # fmt: skip
    assert get["parameters"][1]["schema"] == {"type": "integer", "minimum": 100, "maximum": 999_999_999}
    assert "total" in get["responses"]["200"]["content"]["application/json"]["schema"]["properties"]
    assert {"400", "401", "403", "500", "501", "595", "596"} < set(get["responses"])
    assert found["paths"]["/open"]["get"]["security"] == []
    post = found["paths"]["/nodes/{node}/x/list"]["post"]
    assert post["security"][0] == {"ticket": [], "csrf": []}
    body = post["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]
    assert set(body["properties"]) == {"vmid", "full", "memory"}
    assert list(body["patternProperties"]) == ["^net(0|1|2|3|4|5|6|7|8|9|10|11)$"]
    assert (body["required"], body["additionalProperties"]) == (["memory"], False)


def test_every_directory_is_described_and_answers_alike_and_nodes_own_paths_are_not_shown() -> None:
    found = directories([method for method in METHODS if not isinstance(method.permission, NodeOnly)])
    assert found == {
        "/": ("nodes", "open"), "/nodes": (), "/nodes/{node}": ("x",), "/nodes/{node}/x": ("list",),
    }  # fmt: skip
    router = Router(METHODS)
    for path, names in found.items():
        assert router.match("GET", path).target.names == names  # type: ignore[union-attr]
    described = document(METHODS, "1")["paths"]
    assert set(found) < set(described)
    assert not [path for path in described if path.startswith("/inner")]


def test_the_reference_has_a_page_for_each_area() -> None:
    made = pages(document(METHODS, "1"))
    assert set(made) == {"README.md", "nodes.md", "open.md", "root.md"}
    assert "| `full` | boolean | All of it; default False |" in made["nodes.md"]
    assert "| `net[n]` | string |  |" in made["nodes.md"]
