"""Property strings: ``value,key=value,key=value``, the small format inside many configuration values.

One key may be the default and stand without its name: ``local:100/disk.qcow2,size=4G``. Duplicate keys and
empty parts are errors; order is kept, so that printing what was parsed gives the same text.
"""

from __future__ import annotations

from collections.abc import Mapping


def parse(text: str, default_key: str | None = None) -> dict[str, str]:
    """Split a property string into its keys, in order.

    Raises ``ValueError`` when a part has no ``=`` and is not the one default value, or a key comes twice.
    """
    result: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not equals:
            if default_key is None:
                raise ValueError(f"'{part}' in '{text}' needs the form key=value")
            key, value = default_key, part
        if not key or not value:
            raise ValueError(f"'{part}' in '{text}' has an empty key or value")
        if key in result:
            raise ValueError(f"'{key}' stands twice in '{text}'")
        result[key] = value
    return result


def render(properties: Mapping[str, str], default_key: str | None = None) -> str:
    """Print a property string; the default key's value, if present, stands first and without its name."""
    parts = []
    if default_key is not None and default_key in properties:
        parts.append(properties[default_key])
    parts += [f"{key}={value}" for key, value in properties.items() if key != default_key]
    return ",".join(parts)


def boolean(text: str) -> bool:
    """Read a boolean as users write it: 1/0, on/off, yes/no, true/false; raises ``ValueError`` otherwise."""
    lowered = text.lower()
    if lowered in ("1", "on", "yes", "true"):
        return True
    if lowered in ("0", "off", "no", "false"):
        return False
    raise ValueError(f"'{text}' is neither true nor false: use 1 or 0")
