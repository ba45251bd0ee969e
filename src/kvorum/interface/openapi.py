"""The OpenAPI 3.1 document of all declared methods, from the declarations alone. Pure.

Numbered families (``net0`` … ``net31``) are written once, as a pattern. Methods between nodes are left out.
The parameter ``volume`` takes the rest of the path: it may contain slashes, which OpenAPI has no way to say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from kvorum.interface.declare import (
    AllOf,
    AnyOf,
    Anyone,
    GroupsGiven,
    LoggedIn,
    Method,
    NodeOnly,
    OwnUser,
    Privilege,
    RealmPrivilege,
    Requirement,
    RightsOn,
    RootOnly,
    UserPrivilege,
    Where,
)
from kvorum.interface.result_schema import is_download, is_page, result_schema

Schema = dict[str, Any]

_IN_PATH = re.compile(r"\{(\w+)\}")
_NUMBERED = re.compile(r"(.*[^0-9])(0|[1-9][0-9]*)")
_DROPPED = frozenset({"title", "ask", "ask_again", "confirm"})

_REFUSALS: Mapping[str, str] = {
    "400": "A parameter is wrong: see errors.",
    "401": "No ticket or token, or one that is wrong or too old, or no CSRF token.",
    "403": "The caller lacks a privilege.",
    "500": "It could not be done: the sentence says why.",
    "501": "There is no such method.",
    "595": "The node that should answer can't be reached.",
    "596": "The node that should answer did not in time.",
    "599": "Two nodes each take the other for the one that should answer.",
}

_FAILURE: Schema = {
    "type": "object",
    "required": ["data", "message"],
    "properties": {
        "data": {"type": "null"},
        "message": {"type": "string", "description": "The whole sentence; its first line is the reason."},
        "errors": {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "A sentence for each wrong parameter.",
        },
        "incident": {"type": "string", "description": "Names an unforeseen error in the daemon's log."},
    },
}

_SECURITY: Schema = {
    "ticket": {"type": "apiKey", "in": "cookie", "name": "PVEAuthCookie"},
    "csrf": {"type": "apiKey", "in": "header", "name": "CSRFPreventionToken"},
    "token": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "PVEAPIToken=USER@REALM!TOKENID=SECRET",
    },
}


def document(methods: Iterable[Method], version: str) -> Schema:
    """The document; the same declarations give the same one."""
    shown = [method for method in methods if not isinstance(method.permission, NodeOnly)]
    paths: dict[str, Schema] = {}
    for method in shown:
        paths.setdefault(method.path, {})[method.verb.lower()] = _operation(method)
    for path, children in directories(shown).items():
        paths.setdefault(path, {})["get"] = _directory(path, children)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Kvorum",
            "version": version,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/api2/json"}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": {"Failure": _FAILURE},
            "responses": {
                f"Refusal{code}": {
                    "description": text,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Failure"}}},
                }
                for code, text in _REFUSALS.items()
            },
            "securitySchemes": _SECURITY,
        },
    }


def render(found: Mapping[str, Any]) -> str:
    """The document as text with an operation on each line, for readable differences."""
    lines = []
    for key, value in found.items():
        if key != "paths":
            lines.append(f"{_compact(key)}: {_compact(value)}")
            continue
        entries = [
            f"  {_compact(path)}: {{\n"
            + ",\n".join(f"   {_compact(verb)}: {_compact(one)}" for verb, one in sorted(item.items()))
            + "\n  }"
            for path, item in value.items()
        ]
        lines.append(f"{_compact(key)}: {{\n" + ",\n".join(entries) + "\n }")
    return "{\n " + ",\n ".join(lines) + "\n}\n"


def directories(methods: Iterable[Method]) -> dict[str, tuple[str, ...]]:
    """Every path that has something below it and no GET of its own, with the names that are spelled out."""
    below: dict[str, set[str]] = {}
    answered = set()
    for method in methods:
        if method.verb == "GET":
            answered.add(method.path)
        parts = method.path.strip("/").split("/")
        for depth, part in enumerate(parts):
            names = below.setdefault("/" + "/".join(parts[:depth]), set())
            if not part.startswith("{"):
                names.add(part)
    return {path: tuple(sorted(names)) for path, names in sorted(below.items()) if path not in answered}


def says(requirement: Requirement) -> str:
    """A requirement in words."""
    match requirement:
        case Anyone():
            return "anyone"
        case LoggedIn():
            return "any user; what is shown depends on rights"
        case RootOnly():
            return "root@pam in person"
        case Privilege(path, names, any_of, required):
            where = f"{path}, if '{required}' is given" if required else path
            return f"{' or '.join(names) if any_of else ' and '.join(names)} on {where}"
        case OwnUser():
            return "the user itself"
        case RealmPrivilege(name):
            return f"{name} on /access/realm/ and the user's realm"
        case UserPrivilege(names, groups):
            which = "every group given" if groups is GroupsGiven.CREATE else "a group of the user's"
            also = " and on every group given" if groups is GroupsGiven.UPDATE else ""
            return f"{' or '.join(names)} on /access/groups, or on {which}{also}"
        case RightsOn(parameter):
            return f"Permissions.Modify, or the privilege that allocates, on {{{parameter}}}"
        case AllOf(parts):
            return " and ".join(f"({says(part)})" for part in parts)
        case AnyOf(parts):
            return " or ".join(f"({says(part)})" for part in parts)
        case _:
            return type(requirement).__name__


def _operation(method: Method) -> Schema:
    schema = method.parameters.model_json_schema(by_alias=True, mode="validation")
    required = set(schema.get("required", ()))
    properties = {n: _tidy(part, schema) for n, part in schema.get("properties", {}).items()}
    in_path = _IN_PATH.findall(method.path)
    operation: Schema = {
        "operationId": _operation_id(method.verb, method.path),
        "summary": " ".join(method.summary.split()),
        "tags": [_area(method.path)],
        "parameters": [_parameter(name, "path", properties.pop(name, {}), True) for name in in_path],
        "responses": _responses(method),
        "security": _security(method),
        "x-permission": says(method.permission),
    }
    if method.where is Where.NODE:
        operation["x-carried-out-by"] = "the node in the path"
    if method.task:
        operation["x-task"] = True
    if method.verb in ("GET", "DELETE"):
        operation["parameters"] += [
            _parameter(name, "query", part, name in required) for name, part in properties.items()
        ]
    elif properties:
        body = _body(properties, required - set(in_path), bool(schema.get("additionalProperties")))
        if method.upload:
            body["properties"]["filename"] = {
                "type": "string",
                "format": "binary",
                "description": "The file, last.",
            }
        operation["requestBody"] = {
            "required": "required" in body,
            "content": {kind: {"schema": body} for kind in (_UPLOAD if method.upload else _BODIES)},
        }
    return operation


_BODIES = ("application/json", "application/x-www-form-urlencoded")
_UPLOAD = ("multipart/form-data",)


def _parameter(name: str, place: str, part: Schema, required: bool) -> Schema:
    shown: Schema = {"name": name, "in": place, "required": required, "schema": dict(part)}
    if description := shown["schema"].pop("description", ""):
        shown["description"] = description
    return shown


def _body(properties: dict[str, Schema], required: set[str], more: bool) -> Schema:
    plain, families = _families(properties)
    body: Schema = {"type": "object", "properties": plain, "additionalProperties": more}
    if families:
        body["patternProperties"] = families
    if required:
        body["required"] = sorted(required)
    return body


def _families(properties: dict[str, Schema]) -> tuple[dict[str, Schema], dict[str, Schema]]:
    """Take numbered families that are alike out of the properties; each becomes one pattern."""
    members: dict[str, list[int]] = {}
    for name in properties:
        if match := _NUMBERED.fullmatch(name):
            members.setdefault(match[1], []).append(int(match[2]))
    plain, families = dict(properties), {}
    for stem, numbers in members.items():
        parts = [{**properties[f"{stem}{n}"], "description": ""} for n in numbers]
        if len(numbers) > 1 and all(part == parts[0] for part in parts):
            families[f"^{re.escape(stem)}({'|'.join(map(str, sorted(numbers)))})$"] = properties[
                f"{stem}{numbers[0]}"
            ]
            for n in numbers:
                del plain[f"{stem}{n}"]
    return plain, families


def _tidy(part: Mapping[str, Any], schema: Mapping[str, Any]) -> Schema:
    """A property without titles, and without the ``null`` that only means it may be left out."""
    found = dict(part)
    if isinstance(reference := found.pop("$ref", None), str):
        found = {**schema["$defs"][reference.rpartition("/")[2]], **found}
    choices = [choice for choice in found.pop("anyOf", ()) if choice.get("type") != "null"]
    if len(choices) == 1:
        found = {**choices[0], **found}
    elif choices:
        found["anyOf"] = [_tidy(choice, schema) for choice in choices]
    if found.get("default", "") in (None, "", []):
        found.pop("default", None)
    return {key: value for key, value in found.items() if key not in _DROPPED}


def _file(method: Method) -> Schema:
    """What may come instead of JSON."""
    return {"*/*": {"schema": {"type": "string"}}} if is_download(method.result) else {}


def _responses(method: Method) -> Schema:
    data = result_schema(method.result)
    properties = {"data": data} | ({"total": {"type": "integer"}} if is_page(method.result) else {})
    answer = {"type": "object", "required": ["data"], "properties": properties}
    codes = ["400", "401", "403", "500", "501"]
    if method.where is Where.NODE or method.protected:
        codes += ["595", "596", "599"]
    return _answered(answer, codes, _file(method))


def _answered(answer: Schema, codes: Iterable[str], file: Schema) -> Schema:
    return {
        "200": {"description": "Done.", "content": {"application/json": {"schema": answer}} | file},
        **{code: {"$ref": f"#/components/responses/Refusal{code}"} for code in codes},
    }


def _security(method: Method) -> list[dict[str, list[str]]]:
    if isinstance(method.permission, Anyone):
        return []
    ticket: dict[str, list[str]] = {"ticket": []}
    if method.verb != "GET":
        ticket["csrf"] = []
    return [ticket, {"token": []}] if method.allow_token else [ticket]


def _directory(path: str, children: tuple[str, ...]) -> Schema:
    row = {"type": "object", "required": ["name", "subdir"], "properties": {}}
    row["properties"] = {name: {"type": "string"} for name in ("name", "subdir")}
    listing = {
        "type": "object",
        "required": ["data"],
        "properties": {"data": {"type": "array", "items": row}},
    }
    return {
        "operationId": _operation_id("GET", path),
        "summary": "Directory index" + (f": {', '.join(children)}." if children else "."),
        "tags": [_area(path)],
        "parameters": [_parameter(n, "path", {"type": "string"}, True) for n in _IN_PATH.findall(path)],
        "responses": _answered(listing, ["400", "401", "403", "501"], {}),
        "security": [{"ticket": []}, {"token": []}],
        "x-permission": says(LoggedIn()),
    }


def _operation_id(verb: str, path: str) -> str:
    words = [part.strip("{}") for part in path.split("/") if part]
    return "_".join([verb.lower(), *words]).replace("-", "_")


def _area(path: str) -> str:
    return path.split("/")[1] or "root"


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
