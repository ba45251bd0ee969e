"""``python -m kvorum.cli.generate`` writes all that is made from the declarations; ``--check`` compares.

That is commands.json, the bash completion, the OpenAPI document, and in a repository docs/api.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import kvorum
from kvorum.cli import table
from kvorum.cli.completion import script
from kvorum.cli.declarations import all_methods, build, render
from kvorum.interface import openapi, reference

COMPLETION = Path(__file__).with_name("completion.bash")
OPENAPI = Path(openapi.__file__).with_name("openapi.json")
REFERENCE = Path(__file__).parents[3] / "docs" / "api"


def texts() -> dict[Path, str]:
    """The generated files and what must stand in them."""
    methods = all_methods()
    commands, described = build(methods), openapi.document(methods, kvorum.__version__)
    found = {
        table.FILE: render(commands),
        COMPLETION: script(commands),
        OPENAPI: openapi.render(described),
    }
    if REFERENCE.parent.is_dir():
        found |= {REFERENCE / name: text for name, text in reference.pages(described).items()}
    return found


def main(argv: Sequence[str]) -> int:
    """Write what differs; with ``--check`` name it instead and return 1."""
    stale = [
        (path, text) for path, text in texts().items() if not path.exists() or path.read_text("utf-8") != text
    ]
    for path, text in stale:
        if "--check" not in argv:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, "utf-8")
        print(f"{path.name}: {'differs from the declarations' if '--check' in argv else 'written'}")
    return 1 if stale and "--check" in argv else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
