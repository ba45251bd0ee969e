"""Which method a path means: path templates as a tree, built once from the declarations.

A segment that is spelled out goes before a parameter. A directory that no method answers for itself lists its
children. A last parameter named ``volume`` takes the rest of the path, since volume ids contain slashes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from kvorum.core.errors import NotImplementedHere
from kvorum.interface.declare import Method, NodeOnly
from kvorum.interface.decode import Decoder

_GREEDY = "volume"
_NO_VALUES: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Route:
    """One method with what is prepared for calling it."""

    method: Method
    decoder: Decoder


@dataclass(frozen=True, slots=True)
class Listing:
    """A directory without a method of its own: the names below it."""

    names: tuple[str, ...]

    def rows(self) -> list[dict[str, str]]:
        """The rows of the answer, with both names the clients look for."""
        return [{"name": name, "subdir": name} for name in self.names]


@dataclass(frozen=True, slots=True)
class Match:
    """What a request's path and verb lead to, and the values its parameters have there."""

    target: Route | Listing
    values: Mapping[str, str]


@dataclass(slots=True)
class _Node:
    static: dict[str, _Node] = field(default_factory=dict)
    parameter: _Node | None = None
    name: str = ""
    routes: dict[str, Route] = field(default_factory=dict)
    shown: bool = False
    """Whether users find a method here or below; what nodes alone may call is not listed."""

    def match(self, verb: str, values: Mapping[str, str]) -> Match | None:
        route = self.routes.get(verb)
        if route is not None:
            return Match(route, values)
        if verb == "GET" and self.shown and (self.static or self.parameter):
            names = sorted(name for name, child in self.static.items() if child.shown)
            return Match(Listing(tuple(names)), values)
        return None


class Router:
    """All declared methods by verb and path."""

    def __init__(self, methods: Iterable[Method]) -> None:
        self._root = _Node()
        for method in methods:
            self._add(method)
        self._fixed: dict[tuple[str, str], Match] = {}
        self._collect(self._root, "")

    def match(self, verb: str, path: str) -> Match:
        """Find what answers ``verb path``; the path is as sent (percent-encoded), without ``/api2/json``.

        Raises ``NotImplementedHere`` when nothing does.
        """
        found = self._fixed.get((verb, path))
        if found is None:
            segments = [unquote(segment) for segment in path.split("/") if segment]
            found = self._walk(self._root, verb, segments, 0, {})
        if found is None:
            raise NotImplementedHere(f"Method '{verb} {unquote(path) or '/'}' not implemented")
        return found

    def _walk(
        self, node: _Node, verb: str, segments: list[str], position: int, values: dict[str, str]
    ) -> Match | None:
        if position == len(segments):
            return node.match(verb, values)
        segment = segments[position]
        child = node.static.get(segment)
        if child is not None:
            found = self._walk(child, verb, segments, position + 1, values)
            if found is not None:
                return found
        child = node.parameter
        if child is None:
            return None
        if child.name == _GREEDY and not child.static and child.parameter is None:
            return child.match(verb, values | {_GREEDY: "/".join(segments[position:])})
        return self._walk(child, verb, segments, position + 1, values | {child.name: segment})

    def _add(self, method: Method) -> None:
        node = self._root
        shown = not isinstance(method.permission, NodeOnly)
        node.shown |= shown
        for segment in method.path.split("/"):
            if not segment:
                continue
            if segment.startswith("{"):
                name = segment[1:-1]
                if node.parameter is None:
                    node.parameter = _Node(name=name)
                assert node.parameter.name == name, (
                    f"{method.path}: '{name}' is called '{node.parameter.name}' by another method"
                )
                node = node.parameter
            else:
                node = node.static.setdefault(segment, _Node())
            node.shown |= shown
        node.routes[method.verb] = Route(method, Decoder(method.parameters))

    def _collect(self, node: _Node, path: str) -> None:
        """Note the answers of all paths without parameters, so that a request for one costs one look-up."""
        for verb in {*node.routes, "GET"}:
            found = node.match(verb, _NO_VALUES)
            if found is not None:
                self._fixed[verb, path or "/"] = found
        for name, child in node.static.items():
            self._collect(child, f"{path}/{name}")
