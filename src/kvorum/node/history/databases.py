"""The round-robin databases' files. Every function here blocks and is for the recorder's one thread.

A file in /run is the one that is written; its copy below /var/lib is what a reboot leaves. A database whose
columns are not ours any more is made anew from the old one, so that its past is kept.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from types import ModuleType

from kvorum.core.errors import KvorumError
from kvorum.node.history.schema import STEP_S, TIMEFRAMES, Schema

_MOST_PICTURES = 100
"""They lie in memory: older ones are removed."""
_COLOURS = ("#0066cc", "#3e8635", "#f0ab00", "#c9190b", "#6753ac", "#009596")
_MOST_SILENT_S = 30 * 86400
"""A saved database that nobody wrote to for so long is dropped."""


class Databases:
    """The databases of this node under ``run``, saved under ``kept``."""

    def __init__(self, run: Path, kept: Path) -> None:
        self._run = run
        self._kept = kept
        self._pictures = run / "pictures"
        self._known: set[Path] = set()

    def file(self, schema: Schema, name: str) -> Path:
        """Where a database lies; ``name`` may hold one slash (``NODE/STORAGE``)."""
        assert not name.startswith("/") and ".." not in name.split("/"), name
        return self._run / schema.name / name

    def load(self) -> None:
        """Take over what was saved and is not there yet (a reboot); what can't be read is left out."""
        for saved in self._files(self._kept):
            file = self._run / saved.relative_to(self._kept)
            if not file.exists():
                with contextlib.suppress(OSError):
                    _copy(saved, file)

    def save(self) -> None:
        """Copy every database to disk, each file whole; raises ``OSError`` (a full disk, say).

        Copies of databases that are gone for a month are removed.
        """
        for file in self._files(self._run):
            _copy(file, self._kept / file.relative_to(self._run))
        for saved in self._files(self._kept):
            if time.time() - saved.stat().st_mtime > _MOST_SILENT_S:
                saved.unlink(missing_ok=True)

    def update(self, schema: Schema, name: str, at: int, values: Mapping[str, float | int | None]) -> None:
        """Add one sample at a Unix time; columns without a value are unknown. An older one is ignored."""
        rrdtool = _binding()
        file = self.file(schema, name)
        if file not in self._known:
            self._prepare(schema, file, at)
            self._known.add(file)
        sample = ":".join(_number(values.get(column)) for column in schema.columns)
        try:
            rrdtool.update(str(file), f"{at}:{sample}")
        except rrdtool.OperationalError as error:
            if not file.exists():
                self._known.discard(file)
            elif "illegal attempt to update" not in str(error):  # a clock that went back: wait until it is on
                raise KvorumError(f"the history in '{file}' can't be written: {error}") from error

    def rows(
        self, schema: Schema, name: str, timeframe: str, function: str, columns: Iterable[str] = ()
    ) -> list[dict[str, object]]:
        """The rows of a timeframe, oldest first, each with its ``time``; empty where there is no history."""
        rrdtool = _binding()
        file = self.file(schema, name)
        if not file.exists():
            return []
        frame = TIMEFRAMES[timeframe]
        end = int(time.time()) // frame.resolution_s * frame.resolution_s
        try:
            last = int(rrdtool.last(str(file))) // frame.resolution_s * frame.resolution_s
            # An archive that does not reach back far enough is passed over for a coarser one.
            start = max(end, last) - frame.resolution_s * frame.rows
            (first, _, step), names, values = rrdtool.fetch(
                str(file), function, "-s", str(start), "-e", str(end), "-r", str(frame.resolution_s)
            )
        except rrdtool.OperationalError as error:
            raise KvorumError(f"the history in '{file}' can't be read: {error}") from error
        wanted = frozenset(columns) or frozenset(names)
        return [
            {"time": first + step * number}
            | {
                column: value
                for column, value in zip(names, row, strict=True)
                if column in wanted and value is not None and not math.isnan(value)
            }
            for number, row in enumerate(values, 1)
        ][-frame.rows :]

    def draw(
        self, schema: Schema, name: str, timeframe: str, function: str, columns: Sequence[str]
    ) -> Path | None:
        """Draw columns of a timeframe as a PNG file of this node; ``None`` where there is no history.

        The file is the last picture of its object and timeframe, whatever was drawn.
        """
        rrdtool = _binding()
        file = self.file(schema, name)
        if not file.exists():
            return None
        frame = TIMEFRAMES[timeframe]
        picture = self._pictures / f"{schema.name}.{name.replace('/', '.')}.{timeframe}.png"
        beside = picture.with_name(f".{picture.name}.new")
        picture.parent.mkdir(parents=True, exist_ok=True)
        lines = [
            text
            for number, (column, colour) in enumerate(zip(columns, cycle(_COLOURS), strict=False))
            for text in (
                f"DEF:c{number}={_escaped(file)}:{column}:{function}",
                f"LINE2:c{number}{colour}:{column}",
            )
        ]
        span = ("--start", f"-{frame.resolution_s * frame.rows}", "--end", "now")
        size = ("--width", "800", "--height", "200", "--border", "0", "--title", f"{name}: {timeframe}")
        try:
            rrdtool.graph(str(beside), *span, *size, *lines)
            beside.replace(picture)
        except (rrdtool.OperationalError, OSError) as error:
            beside.unlink(missing_ok=True)
            raise KvorumError(f"the history in '{file}' can't be drawn: {error}") from error
        drawn = sorted(self._pictures.glob("*.png"), key=lambda one: one.stat().st_mtime)
        for old in drawn[:-_MOST_PICTURES]:
            old.unlink(missing_ok=True)
        return picture

    def forget(self, schema: Schema, names: Iterable[str]) -> None:
        """Save databases a last time and remove them from memory; their copies stay for a month."""
        for name in names:
            file = self.file(schema, name)
            with contextlib.suppress(FileNotFoundError):
                _copy(file, self._kept / file.relative_to(self._run))
            file.unlink(missing_ok=True)
            self._known.discard(file)

    def names(self, schema: Schema) -> list[str]:
        """The databases that are there."""
        place = self._run / schema.name
        return [str(file.relative_to(place)) for file in self._files(place)]

    def _prepare(self, schema: Schema, file: Path, at: int) -> None:
        """Make the database, or bring an older one to the present columns."""
        rrdtool = _binding()
        file.parent.mkdir(parents=True, exist_ok=True)
        saved = self._kept / file.relative_to(self._run)
        if not file.exists() and saved.exists():
            _copy(saved, file)
        old: list[str] = []
        if file.exists():
            if _columns(file) == list(schema.columns):
                return
            old = ["--source", str(file)] if _columns(file) else []
        beside = file.with_name(f".{file.name}.new")
        start = str(at - STEP_S)
        begun = [] if old else ["--start", start]
        try:
            rrdtool.create(str(beside), *begun, "--step", str(STEP_S), *old, *schema.arguments())
            beside.replace(file)
        except (rrdtool.OperationalError, OSError) as error:
            beside.unlink(missing_ok=True)
            raise KvorumError(f"the history in '{file}' can't be made: {error}") from error

    def _files(self, place: Path) -> list[Path]:
        return sorted(
            file
            for file in place.rglob("*")
            if file.is_file() and not file.name.startswith(".") and self._pictures not in file.parents
        )


def _binding() -> ModuleType:
    """librrd's own binding, loaded where it is first used: only pvedaemon needs it."""
    import rrdtool  # type: ignore[import-not-found]  # it ships no types

    return rrdtool  # type: ignore[no-any-return]  # as above


def _escaped(file: Path) -> str:
    """A path as rrdgraph_data(1) takes it: colons separate."""
    return str(file).replace(":", r"\:")


def _columns(file: Path) -> list[str]:
    """The columns a database has; none when the file is no database."""
    rrdtool = _binding()
    try:
        found = rrdtool.info(str(file))
    except rrdtool.OperationalError:
        return []
    indexes = {
        key[3:-7]: value for key, value in found.items() if key.startswith("ds[") and key.endswith("].index")
    }
    return sorted(indexes, key=lambda name: int(indexes[name]))


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.new")
    try:
        shutil.copy2(source, beside)  # with its time: that of the last sample
        os.replace(beside, target)  # noqa: PTH105  # one system call
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def _number(value: float | int | None) -> str:
    if value is None:
        return "U"
    return str(value) if isinstance(value, int) else f"{value:.10g}"
