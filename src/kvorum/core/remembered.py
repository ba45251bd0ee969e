"""The last value of a pure function, kept beside the inputs it was made from."""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
I = TypeVar("I")  # noqa: E741  # inputs
V = TypeVar("V")


class Remembered(Generic[I, V]):
    """Makes a value anew when its inputs differ from those of the last time; it holds one value.

    Nothing has to tell it that something changed: the inputs are compared at each look, so the value can't
    be older than they are. They must be immutable, or copies.
    """

    def __init__(self, make: Callable[[I], V]) -> None:
        self._make = make
        self._kept: tuple[I, V] | None = None

    def of(self, inputs: I) -> V:
        """The function's value for these inputs; raises what it raises, and then keeps the former one."""
        kept = self._kept
        if kept is None or (kept[0] is not inputs and kept[0] != inputs):
            kept = self._kept = (inputs, self._make(inputs))
        return kept[1]


class RememberedEach(Generic[K, I, V]):
    """``Remembered`` for each of several things: one value a key, until ``keep_only`` drops it."""

    def __init__(self, make: Callable[[K, I], V]) -> None:
        self._make = make
        self._kept: dict[K, tuple[I, V]] = {}

    def of(self, key: K, inputs: I) -> V:
        """The function's value for this key and these inputs; raises what it raises."""
        kept = self._kept.get(key)
        if kept is None or (kept[0] is not inputs and kept[0] != inputs):
            kept = self._kept[key] = (inputs, self._make(key, inputs))
        return kept[1]

    def keep_only(self, keys: Container[K]) -> None:
        """Forget the values of all other keys."""
        for key in [key for key in self._kept if key not in keys]:
            del self._kept[key]
