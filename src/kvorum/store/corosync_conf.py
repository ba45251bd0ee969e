"""A corosync.conf that is written by hand is judged before it is spread: refused where the editor closes it.

The file system asks here before it hands a change to the group. What is refused has had no effect; the
sentence goes to the journal and, under ``REFUSED``, to all nodes (``.members``, the page, the cluster's log).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kvorum.core.errors import Conflict
from kvorum.corosync import Configuration, DocumentError, judge
from kvorum.store.face import Operation, Rename, Write

if TYPE_CHECKING:
    from kvorum.store.host import Host  # for its types alone: others read here what nodes run
    from kvorum.store.membership import MembershipSource

log = logging.getLogger(__name__)

PATH = "corosync.conf"
REFUSED = "corosync-conf-refused"
"""What each node published last about an edit that it refused; empty since a later one was taken."""
REFUSED_SECONDS = 3600.0
RUNNING = "corosync-config-version"
"""The version that each node's corosync runs, as its pvedaemon tells."""


class Refused(Conflict):
    """The new corosync.conf is not fit to replace the one that runs."""


class Judge:
    """Judges what local editors write to corosync.conf."""

    def __init__(self, host: Host, membership: MembershipSource) -> None:
        self._host = host
        self._membership = membership

    def check(self, operations: Sequence[Operation]) -> None:
        """Raise ``Refused`` unless the new corosync.conf (if one is among the operations) may be spread."""
        text = self._new_text(operations)
        if text is None or self._membership.config is None:
            return
        errors = self._errors(text)
        if errors:
            sentence = "; ".join(errors)
            log.warning("refused: %s; the cluster keeps the one it has", sentence)
            self._host.publish(REFUSED, sentence.encode()[:4000], REFUSED_SECONDS)
            raise Refused(sentence)
        if self._host.published().get((self._host.node, REFUSED), (b"", 0.0))[0]:
            self._host.publish(REFUSED, b"", REFUSED_SECONDS)

    def _new_text(self, operations: Sequence[Operation]) -> str | None:
        for operation in operations:
            match operation:
                case Write(path, data) if path == PATH:
                    return data.decode("utf-8", "replace")
                case Rename(source, target) if target == PATH:
                    file = self._host.tree.read(source)
                    return file.text if file else None
        return None

    def _errors(self, text: str) -> tuple[str, ...]:
        """Judge by the newer of what runs here and what the store has: an editor may have moved that away."""
        old = self._newest()
        if old is None or text == old.text:
            return ()
        members = self._membership.current.members
        told = {node: value for (node, key), (value, _) in self._host.published().items() if key == RUNNING}
        behind = [m.name for m in members if m.online and number(told.get(m.name)) < old.config_version]
        present = {member.nodeid for member in members if member.online}
        return judge(old, text, present, behind=behind, kept=True).errors

    def _newest(self) -> Configuration | None:
        texts = []
        file = self._host.tree.read(PATH)
        if file is not None:
            texts.append(file.text)
        try:
            texts.append(self._membership.config.read_text() if self._membership.config else "")
        except (OSError, UnicodeDecodeError):
            log.warning("'%s' can't be read", self._membership.config)
        found = []
        for known in texts:
            try:
                found.append(Configuration.read(known))
            except DocumentError as error:
                log.info("not to be judged by: %s", error)
        return max(found, key=lambda one: one.config_version, default=None)


def number(value: bytes | None) -> int:
    """A version that a node published; -1 when there is none."""
    return int(value) if value and value.isdigit() else -1
