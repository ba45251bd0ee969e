"""The last value of a pure function, kept beside the inputs it was made from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

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
