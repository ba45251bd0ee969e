"""Which inode number the kernel knows a path by."""

from __future__ import annotations

from collections.abc import Mapping

ROOT = 1


class Inodes:
    """Path to number and back; a number is never used twice while the file system is mounted."""

    def __init__(self) -> None:
        self._paths: dict[int, str] = {ROOT: ""}
        self._numbers: dict[str, int] = {"": ROOT}
        self._lookups: dict[int, int] = {}
        self._next = ROOT + 1

    def number(self, path: str) -> int:
        """The path's number, given now if it had none."""
        number = self._numbers.get(path)
        if number is None:
            number = self._next
            self._next += 1
            self._numbers[path] = number
            self._paths[number] = path
        return number

    def known(self, path: str) -> int | None:
        """The path's number if the kernel may know it."""
        return self._numbers.get(path)

    def path(self, number: int) -> str | None:
        """The path behind a number; ``None`` when it was removed or replaced."""
        return self._paths.get(number)

    def numbers(self) -> list[int]:
        """All numbers that have a path."""
        return list(self._paths)

    @property
    def by_path(self) -> Mapping[str, int]:
        """The numbers of all paths that the kernel may know; to be read only."""
        return self._numbers

    def looked_up(self, *numbers: int) -> None:
        """The kernel was told of these numbers once more."""
        lookups = self._lookups
        for number in numbers:
            lookups[number] = lookups.get(number, 0) + 1

    def forget(self, number: int, count: int) -> bool:
        """The kernel forgets ``count`` of its lookups; returns whether it knows the number no more."""
        left = self._lookups.get(number, 0) - count
        if left > 0:
            self._lookups[number] = left
            return False
        self._lookups.pop(number, None)
        path = self._paths.get(number)
        if path:
            del self._paths[number], self._numbers[path]
        return True

    def removed(self, path: str) -> None:
        """Nothing is at the path any more; a later file there gets another number."""
        number = self._numbers.pop(path, None)
        if number is not None and number != ROOT:
            self._paths.pop(number, None)

    def renamed(self, source: str, target: str) -> None:
        """What was at ``source`` is at ``target`` now, replacing what was there."""
        self.removed(target)
        number = self._numbers.pop(source, None)
        if number is not None:
            self._numbers[target] = number
            self._paths[number] = target
