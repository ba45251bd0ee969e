"""Results for programs: JSON in one line, JSON for eyes, and YAML."""

from __future__ import annotations

import json
import re

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@ +-]*[A-Za-z0-9_./@+-]|[A-Za-z_]")
_WORDS_WITH_MEANING = frozenset(("null", "true", "false", "yes", "no", "on", "off", "y", "n"))


def encode(value: object, form: str) -> str:
    """Print a value as ``json``, ``json-pretty`` or ``yaml``; keys are sorted, to be compared."""
    if form == "yaml":
        return "---\n" + "\n".join(_yaml(value)) + "\n"
    if form == "json-pretty":
        return json.dumps(value, indent=3, sort_keys=True, ensure_ascii=False, separators=(",", " : ")) + "\n"
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False) + "\n"


def _yaml(value: object) -> list[str]:
    """A value's lines in YAML 1.2's block style."""
    if isinstance(value, dict) and value:
        lines = []
        for key, item in sorted(value.items(), key=lambda pair: str(pair[0])):
            lines += _under(f"{_scalar(str(key))}:", item)
        return lines
    if isinstance(value, list) and value:
        return [line for item in value for line in _entry(item)]
    return [_scalar(value)]


def _under(label: str, item: object) -> list[str]:
    if isinstance(item, dict | list) and item:
        return [label, *(f"  {line}" for line in _yaml(item))]
    return [f"{label} {_scalar(item)}"]


def _entry(item: object) -> list[str]:
    first, *rest = _yaml(item)
    return [f"- {first}", *(f"  {line}" for line in rest)]


def _scalar(value: object) -> str:
    """A scalar; texts that could be read as something else are quoted (JSON's strings are YAML's)."""
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS_WITH_MEANING
        return value if plain else json.dumps(value, ensure_ascii=False)
    return json.dumps(value)
