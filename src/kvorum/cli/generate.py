"""``python -m kvorum.cli.generate`` writes commands.json and the bash completion; ``--check`` compares."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from kvorum.cli import table
from kvorum.cli.completion import script
from kvorum.cli.declarations import all_methods, build, render

COMPLETION = Path(__file__).with_name("completion.bash")


def texts() -> dict[Path, str]:
    """The generated files and what must stand in them."""
    commands = build(all_methods())
    return {table.FILE: render(commands), COMPLETION: script(commands)}


def main(argv: Sequence[str]) -> int:
    """Write what differs; with ``--check`` name it instead and return 1."""
    stale = [
        (path, text) for path, text in texts().items() if not path.exists() or path.read_text("utf-8") != text
    ]
    for path, text in stale:
        if "--check" not in argv:
            path.write_text(text, "utf-8")
        print(f"{path.name}: {'differs from the declarations' if '--check' in argv else 'written'}")
    return 1 if stale and "--check" in argv else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
