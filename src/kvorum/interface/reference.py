"""The API's reference as Markdown, a page for each area, from the OpenAPI document. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def pages(document: Mapping[str, Any]) -> dict[str, str]:
    """File name to text: ``README.md`` lists the areas, every other one is an area."""
    areas: dict[str, list[str]] = {}
    for path, item in document["paths"].items():
        for verb in sorted(item):
            operation = item[verb]
            areas.setdefault(operation["tags"][0], []).append(_operation(verb.upper(), path, operation))
    found = {f"{area}.md": f"# /{area}\n\n" + "\n".join(texts) for area, texts in areas.items()}
    lines = [f"- [{area}]({area}.md): {len(texts)} methods" for area, texts in sorted(areas.items())]
    found["README.md"] = (
        "# The API\n\nMade from the declarations by `python -m kvorum.cli.generate`; don't edit. A node "
        "serves the same as OpenAPI 3.1 at `/api2/openapi.json`, to read at `/api2/html/`.\n\n"
        + "\n".join(lines)
        + "\n"
    )
    return found


def _operation(verb: str, path: str, operation: Mapping[str, Any]) -> str:
    lines = [f"## {verb} {path}", "", operation["summary"], ""]
    notes = [f"Allowed to: {operation['x-permission']}."]
    if "x-carried-out-by" in operation:
        notes.append(f"Carried out by {operation['x-carried-out-by']}.")
    if operation.get("x-task"):
        notes.append("Answers with the id of a task.")
    lines += [" ".join(notes), ""]
    rows = [
        _row(p["name"], p["schema"], p["required"], p.get("description", "")) for p in operation["parameters"]
    ]
    if body := operation.get("requestBody"):
        schema = next(iter(body["content"].values()))["schema"]
        required = schema.get("required", ())
        for name, part in schema["properties"].items():
            rows.append(_row(name, part, name in required, part.get("description", "")))
        for pattern, part in schema.get("patternProperties", {}).items():
            name = pattern.strip("^$").partition("(")[0].replace("\\", "") + "[n]"
            rows.append(_row(name, part, False, part.get("description", "")))
    if rows:
        lines += ["| parameter | type | |", "|---|---|---|", *rows, ""]
    return "\n".join(lines)


def _row(name: str, part: Mapping[str, Any], required: bool, description: str) -> str:
    kind = ", ".join(str(one) for one in part["enum"]) if "enum" in part else str(part.get("type", "any"))
    about = [description.rstrip(".")] if description else []
    if required:
        about.append("required")
    if "default" in part:
        about.append(f"default {part['default']}")
    cells = (f"`{name}`", kind, "; ".join(about))
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
