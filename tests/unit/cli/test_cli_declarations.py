import subprocess
from typing import TypedDict

import pytest
from pydantic import Field, create_model

from kvorum.cli.completion import script
from kvorum.cli.declarations import build, fold_families, render
from kvorum.cli.generate import main
from kvorum.cli.table import Table
from kvorum.interface import Anyone, Boolean, Command, Method, NodeName, NodeOnly, Parameters, Vmid
from kvorum.interface.formats import TextList


class Row(TypedDict):
    vmid: int
    name: str


class Example(Parameters):
    node: NodeName
    vmid: Vmid = Field(description="The guest.")
    online: Boolean = False
    tags: TextList | None = None
    password: str = Field(json_schema_extra={"ask": "Password: "})
    target_node: str | None = Field(None, alias="target-node")


def declare(**changes: object) -> Method:
    values: dict[str, object] = {
        "verb": "POST",
        "path": "/nodes/{node}/x/{vmid}",
        "handler": None,
        "parameters": Example,
        "result": list[Row],
        "permission": Anyone(),
        "where": None,
        "protected": True,
        "task": True,
        "allow_token": True,
        "summary": "Do\n    it.",
        "commands": (Command("qm x", "vmid", aliases=("qm y",)),),
    }
    return Method(**{**values, **changes})  # type: ignore[arg-type]


def test_a_declaration_becomes_a_command() -> None:
    table = Table(build([declare()]))
    entry, rest = table.find("qm", ["y", "100"])
    assert (entry.name, rest, entry.method.task) == ("x", ["100"], True)
    kinds = {name: (p.type, p.required) for name, p in entry.method.parameters.items()}
    assert kinds == {
        "node": ("string", True),
        "vmid": ("integer", True),
        "online": ("boolean", False),
        "tags": ("array", False),
        "password": ("string", True),
        "target-node": ("string", False),
    }
    assert entry.method.parameters["password"].ask == "Password: "
    assert entry.method.summary == "Do it."
    assert entry.method.columns == ("vmid", "name")


def test_what_only_nodes_may_call_is_no_command() -> None:
    assert "POST /nodes/{node}/x/{vmid}" not in build([declare(permission=NodeOnly())])["methods"]


@pytest.mark.parametrize(
    ("methods", "sentence"),
    [
        ([declare(), declare(verb="PUT")], "declared twice"),
        ([declare(commands=(Command("qm x", "other"),))], "does not take"),
        ([declare(commands=(Command("qm x", "vmid", output="bogus"),))], "bogus"),
        ([declare(commands=(Command("qm", "vmid"),))], "subcommand"),
    ],
)
def test_a_wrong_declaration_is_refused(methods: list[Method], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        build(methods)


def test_numbered_parameters_become_a_family() -> None:
    one = {"description": "card 0"}
    folded = fold_families(
        {"net0": one, "net1": {"description": "card 1"}, "link1": {}, "link2": {}, "ipv4": {}}
    )
    assert folded == {"net[n]": {**one, "count": 2}, "link1": {}, "link2": {}, "ipv4": {}}


def test_open_parameters_take_any_name() -> None:
    model = create_model("Open", __base__=Parameters, __config__=None)
    model.model_config["extra"] = "allow"
    model.model_rebuild(force=True)
    table = Table(build([declare(parameters=model, path="/open", commands=(Command("qm open"),))]))
    assert table.entry("qm", "open").method.parameter("anything") is not None


def test_the_completion_is_valid_bash_and_completes() -> None:
    text = script(build([declare()]))
    load = f"load() {{\n{text}\n}}; load\n"  # as bash-completion does
    probe = load + "COMP_WORDS=(qm x --o); COMP_CWORD=2; _kvorum; echo ${COMPREPLY[*]}"
    done = subprocess.run(["bash", "-c", probe], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.split() == ["--online", "--output-format"]
    assert done.stderr == ""


def test_the_same_declarations_give_the_same_text() -> None:
    assert render(build([declare()])) == render(build([declare()]))


def test_the_files_in_the_package_are_those_of_the_declarations() -> None:
    assert main(["--check"]) == 0, "run `python -m kvorum.cli.generate` and commit what it wrote"
