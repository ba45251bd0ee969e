"""/etc/network/interfaces as a document: read, changed and written without losing a line (interfaces(5)).

Every line belongs to a ``Block``; an edit rebuilds the block of the interface it means and touches no other.
Within that block, options that we don't know keep their place and spelling.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

_KEYWORDS = (
    "iface", "auto", "mapping", "source", "source-directory", "rename", "template", "no-auto-down",
    "no-scripts", "vlan",
)  # fmt: skip
_START = re.compile(rf"\s*(?P<word>{'|'.join(_KEYWORDS)}|allow-\S+)(?:\s+(?P<rest>.*?))?\s*")
_OPTION = re.compile(r"\s*(?P<key>[A-Za-z][\w.-]*)(?:\s+(?P<value>.*?))?\s*")
_INDENT = "\t"


class InterfacesError(ValueError):
    """The file can't be changed as asked; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Block:
    """A stanza with the lines up to the next one; ``word`` is empty for what stands before the first."""

    word: str
    words: tuple[str, ...]
    """What follows the word on its line."""
    lines: tuple[str, ...]

    @property
    def iface(self) -> str:
        """The interface's name, for an ``iface`` stanza; empty otherwise."""
        return self.words[0] if self.word == "iface" and self.words else ""

    @property
    def family(self) -> str:
        """``inet`` or ``inet6`` of an ``iface`` stanza; ifupdown2 lets it be left out."""
        return self.words[1] if len(self.words) > 1 else "inet"

    @property
    def method(self) -> str:
        """``static``, ``manual``, ``dhcp``, …"""
        return self.words[2] if len(self.words) > 2 else "manual"

    @property
    def options(self) -> list[tuple[str, str]]:
        """The options in order, as spelled; the same key may come again."""
        return [
            (match["key"], match["value"] or "")
            for line in _logical(self.lines[1:])
            if not line.lstrip().startswith("#") and (match := _OPTION.fullmatch(line))
        ]

    @property
    def comments(self) -> str:
        """The comment lines below the stanza's first line, without their ``#``."""
        return "".join(f"{line.strip()[1:]}\n" for line in self.lines[1:] if line.strip().startswith("#"))


@dataclass(frozen=True, slots=True)
class Interfaces:
    """The whole file; immutable, an edit returns a new one."""

    blocks: tuple[Block, ...]

    @classmethod
    def parse(cls, text: str) -> Interfaces:
        """Read the text; anything is accepted, and what is not understood is kept."""
        blocks: list[Block] = []
        current: list[str] = []
        word, words = "", ()  # type: tuple[str, tuple[str, ...]]
        continued = False
        for line in text.split("\n"):
            match = None if continued else _START.fullmatch(line.rstrip("\\"))
            if match:
                blocks.append(Block(word, words, tuple(current)))
                word, words, current = match["word"], tuple((match["rest"] or "").split()), []
            current.append(line)
            continued = line.endswith("\\")
        blocks.append(Block(word, words, tuple(current)))
        return cls(tuple(block for block in blocks if block.lines))

    def render(self) -> str:
        """The file's text; what was parsed and not changed comes out byte for byte."""
        return "\n".join(line for block in self.blocks for line in block.lines)

    def names(self) -> tuple[str, ...]:
        """The interfaces that have a stanza, in the order of the file."""
        return tuple(dict.fromkeys(block.iface for block in self.blocks if block.iface))

    def stanzas(self, name: str) -> tuple[Block, ...]:
        """The ``iface`` stanzas of one interface, one for each family as a rule."""
        return tuple(block for block in self.blocks if block.iface == name)

    def automatic(self, name: str) -> bool:
        """Whether the interface comes up at boot."""
        return any(block.word in ("auto", "allow-auto") and name in block.words for block in self.blocks)

    def sources(self) -> tuple[str, ...]:
        """The files that this one includes; they are neither read nor changed here."""
        return tuple(
            " ".join(block.words) for block in self.blocks if block.word in ("source", "source-directory")
        )

    def without(self, name: str) -> Interfaces:
        """Without an interface's stanzas and its place in ``auto``; raises ``InterfacesError`` if unknown."""
        if not self.stanzas(name):
            raise InterfacesError(f"interface '{name}' is not configured in /etc/network/interfaces")
        return self._without_auto(name)._keep(lambda block: block.iface != name)

    def with_automatic(self, name: str, automatic: bool) -> Interfaces:
        """With the interface coming up at boot, or not."""
        if automatic == self.automatic(name):
            return self
        if not automatic:
            return self._without_auto(name)
        new = Block("auto", (name,), (f"auto {name}",))
        at = next((n for n, block in enumerate(self.blocks) if block.iface == name), len(self.blocks))
        return Interfaces((*self.blocks[:at], new, *self.blocks[at:]))

    def with_stanza(
        self,
        name: str,
        family: str,
        method: str,
        settings: Mapping[str, str],
        delete: Iterable[str] = (),
        comments: str | None = None,
    ) -> Interfaces:
        """With an interface's stanza for one family made or changed.

        Options are set where they stand, under either spelling (``bridge-ports`` or ``bridge_ports``), new
        ones follow; ``comments`` replaces the stanza's comment lines where it is given.
        """
        for block in self.stanzas(name):
            if block.family == family:
                changed = _changed(block, family, method, settings, set(delete), comments)
                return Interfaces(tuple(changed if b is block else b for b in self.blocks))
        empty = Block("iface", (name, family, method), (f"iface {name} {family} {method}",))
        new = _changed(empty, family, method, settings, set(), comments)
        blocks, end = list(self.blocks), -1
        for number, block in enumerate(blocks):
            if block.iface == name:
                end = number
        if end < 0 and blocks and blocks[-1].lines[-1] == "":
            # A file ends with a line break: the new stanza comes before the empty rest of it.
            blocks[-1] = replace(blocks[-1], lines=blocks[-1].lines[:-1])
            blocks = [block for block in blocks if block.lines]
        where = end + 1 if end >= 0 else len(blocks)
        if where and blocks[where - 1].lines[-1] != "":
            blocks[where - 1] = replace(blocks[where - 1], lines=(*blocks[where - 1].lines, ""))
        new = replace(new, lines=(*new.lines, ""))
        return Interfaces((*blocks[:where], new, *blocks[where:]))

    def without_stanza(self, name: str, family: str) -> Interfaces:
        """Without an interface's stanza for one family, if it has one."""
        return self._keep(lambda block: not (block.iface == name and block.family == family))

    def _keep(self, wanted: Callable[[Block], bool]) -> Interfaces:
        return Interfaces(tuple(block for block in self.blocks if wanted(block)))

    def _without_auto(self, name: str) -> Interfaces:
        blocks = []
        for block in self.blocks:
            if block.word.startswith(("auto", "allow-")) and name in block.words:
                left = tuple(word for word in block.words if word != name)
                if not left:
                    continue
                block = Block(block.word, left, (f"{block.word} {' '.join(left)}", *block.lines[1:]))
            blocks.append(block)
        return Interfaces(tuple(blocks))


def key_of(option: str) -> str:
    """An option's name whichever way it is spelled: dashes, and without the old names' prefix."""
    return option.replace("_", "-").lower()


def _logical(lines: Iterable[str]) -> Iterable[str]:
    """Lines with their continuations joined."""
    pending = ""
    for line in lines:
        if line.endswith("\\"):
            pending += line[:-1] + " "
            continue
        yield pending + line
        pending = ""
    if pending:
        yield pending


def _changed(
    block: Block,
    family: str,
    method: str,
    settings: Mapping[str, str],
    delete: set[str],
    comments: str | None,
) -> Block:
    left = {key_of(key): (key, value) for key, value in settings.items()}
    gone = {key_of(key) for key in delete}
    head = f"iface {block.words[0]} {family} {method}"
    lines, tail, skipping = [], [], False
    for line in block.lines[1:]:
        continued = line.endswith("\\")
        if skipping:
            skipping = continued
            continue
        if not line.strip():
            tail.append(line)
            continue
        lines += tail
        tail = []
        if line.lstrip().startswith("#"):
            if comments is None:
                lines.append(line)
            continue
        match = _OPTION.fullmatch(line.rstrip("\\"))
        key = key_of(match["key"]) if match else ""
        if match and key in left:
            lines.append(f"{_INDENT}{match['key']} {left.pop(key)[1]}")
            skipping = continued
        elif match and (key in gone or key in {key_of(k) for k in settings}):
            skipping = continued
        else:
            lines.append(line)
    lines += [f"{_INDENT}{key} {value}" for key, value in left.values()]
    lines += [f"#{line}" for line in (comments or "").splitlines()]
    return Block("iface", (block.words[0], family, method), (head, *lines, *tail))
