"""The small files of this node's system that the API shows and changes: resolv.conf, hosts, the time zone,
/etc/network/interfaces.

Reading is quick (files of /etc); writing replaces a file whole. A file that others manage (a link into /run)
is not written: the sentence says who does.
"""

from __future__ import annotations

import datetime
import errno
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

from kvorum.core import durable
from kvorum.core.errors import KvorumError, ParameterError

MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Zone:
    """A time zone of the system."""

    name: str
    info: datetime.tzinfo

    def offset_s(self, now: float) -> int:
        """Seconds that the wall clock is ahead of UTC at a Unix time."""
        offset = datetime.datetime.fromtimestamp(now, self.info).utcoffset()
        return int(offset.total_seconds()) if offset else 0


class HostFiles:
    """The files below one ``/etc``, and the zones below ``/usr/share/zoneinfo``."""

    def __init__(self, etc: Path = Path("/etc"), zones: Path = Path("/usr/share/zoneinfo")) -> None:
        self.etc = etc
        self._zones = zones

    # name servers

    def dns(self) -> dict[str, str]:
        """``search``, ``dns1`` to ``dns3`` as resolv.conf has them (resolv.conf(5))."""
        found: dict[str, str] = {}
        servers = 0
        for line in self.read("resolv.conf").splitlines():
            word, _, rest = line.strip().partition(" ")
            value = rest.strip()
            if word in ("search", "domain") and value:
                found["search"] = value
            elif word == "nameserver" and value and servers < 3:
                servers += 1
                found[f"dns{servers}"] = value
        return found

    def set_dns(self, search: str, servers: Sequence[str]) -> None:
        """Set the search domain and the name servers; other lines stay. Raises ``KvorumError``."""
        replaced = ("search", "domain", "nameserver")
        lines = [
            line
            for line in self.read("resolv.conf").splitlines()
            if not line.strip().startswith(tuple(f"{word} " for word in replaced))
        ]
        lines = [f"search {search}", *(f"nameserver {server}" for server in servers), *lines]
        self.write("resolv.conf", "".join(f"{line}\n" for line in lines))

    # hosts

    def hosts(self) -> tuple[str, str]:
        """The text of /etc/hosts and its digest."""
        text = self.read("hosts")
        return text, digest(text)

    def set_hosts(self, text: str) -> None:
        """Replace /etc/hosts."""
        self.write("hosts", text if text.endswith("\n") or not text else f"{text}\n")

    # time zone

    def timezone(self) -> Zone:
        """The node's time zone (localtime(5)); UTC where none is set."""
        try:
            target = str((self.etc / "localtime").readlink())
        except OSError:
            return Zone("UTC", datetime.UTC)
        name = target.partition("zoneinfo/")[2]
        file = self._zones / name
        if not name or not file.is_file():
            return Zone("UTC", datetime.UTC)
        with file.open("rb") as stream:
            return Zone(name, ZoneInfo.from_file(stream, name))

    def set_timezone(self, name: str) -> None:
        """Set the time zone; raises ``ParameterError`` when the system does not know it."""
        file = self._zones / name
        parts = name.split("/")
        known = all(part and not part.startswith(".") for part in parts) and file.is_file()
        if not known or file.read_bytes()[:4] != b"TZif":
            raise ParameterError({"timezone": f"'{name}' is no time zone; write such as Europe/Berlin"})
        link = self.etc / "localtime"
        beside = self.etc / ".localtime.new"
        try:
            beside.unlink(missing_ok=True)
            beside.symlink_to(file)
            beside.replace(link)
            if (self.etc / "timezone").exists():
                self.write("timezone", f"{name}\n")
        except OSError as error:
            raise _refused("localtime", error) from error

    # any of them

    def read(self, name: str) -> str:
        """A file's text; empty when there is none. Raises ``KvorumError`` when it can't be read."""
        try:
            with (self.etc / name).open("rb") as stream:
                return stream.read(MAX_BYTES).decode("utf-8", "replace")
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise KvorumError(f"/etc/{name} can't be read: {error.strerror}") from error

    def write(self, name: str, text: str) -> None:
        """Replace a file whole, keeping its mode; raises ``KvorumError`` with what stands in the way."""
        file = self.etc / name
        if file.is_symlink():
            raise KvorumError(
                f"/etc/{name} is a link to '{file.readlink()}': what manages that file must be set instead"
            )
        beside = file.with_name(f".{file.name}.new")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            mode = file.stat().st_mode & 0o777 if file.exists() else 0o644
            with beside.open("w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            beside.chmod(mode)
            try:
                beside.replace(file)
            except OSError as error:
                if error.errno != errno.EBUSY:  # mounted over, as in containers: only its content can change
                    raise
                file.write_text(text, encoding="utf-8")
                beside.unlink()
            durable.sync_folder(file.parent)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise _refused(name, error) from error

    def remove(self, name: str) -> None:
        """Remove a file; one that is gone already is fine."""
        file = self.etc / name
        try:
            file.unlink()
            durable.sync_folder(file.parent)
        except FileNotFoundError:
            return
        except OSError as error:
            raise _refused(name, error) from error


def digest(text: str) -> str:
    """SHA-1 of a text in hex: the API's ``digest``, an optimistic lock and no secret."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def _refused(name: str, error: OSError) -> KvorumError:
    return KvorumError(f"/etc/{name} can't be written: {error.strerror}; nothing was changed")
