"""The parameters and results of the cluster's methods, and the configuration they all read."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from pydantic import Field

from kvorum.cluster.bring import MOST_BYTES
from kvorum.cluster.change import CONFIGURATION
from kvorum.cluster.join_token import SECRET_BYTES
from kvorum.cluster.links import LINK_NUMBERS, Link
from kvorum.core.errors import KvorumError, ParameterError
from kvorum.corosync import Configuration
from kvorum.interface import (
    Boolean,
    NodeName,
    Parameters,
)
from kvorum.store import File, Store


class NoCluster(KvorumError):
    """The node is not in a cluster, so there is nothing to tell."""

    code = 424


class Links(Parameters):
    """The links, as far as they are given."""

    link0: str | None = Field(None, description="Address and priority of link 0: ADDRESS[,priority=N].")
    link1: str | None = Field(None, description="Address and priority of link 1.")
    link2: str | None = Field(None, description="Address and priority of link 2.")
    link3: str | None = Field(None, description="Address and priority of link 3.")
    link4: str | None = Field(None, description="Address and priority of link 4.")
    link5: str | None = Field(None, description="Address and priority of link 5.")
    link6: str | None = Field(None, description="Address and priority of link 6.")
    link7: str | None = Field(None, description="Address and priority of link 7.")

    def links(self) -> dict[int, Link]:
        """The links that were given, by number; raises ``ParameterError`` naming each wrong one."""
        found: dict[int, Link] = {}
        errors: dict[str, str] = {}
        for number in LINK_NUMBERS:
            text = getattr(self, f"link{number}")
            if text is None:
                continue
            try:
                found[number] = Link.parse(text)
            except ValueError as error:
                errors[f"link{number}"] = str(error)
        if errors:
            raise ParameterError(errors)
        return found


class Create(Links):
    clustername: NodeName = Field(max_length=15, description="The name of the cluster.")
    nodeid: int = Field(1, ge=1, description="Node id for this node.")
    votes: int = Field(1, ge=1, description="Number of votes for this node.")
    token_coefficient: int = Field(
        125, ge=0, alias="token-coefficient", description="Token coefficient in milliseconds."
    )


class Join(Links):
    hostname: str = Field(description="Hostname (or IP) of an existing cluster member.")
    password: str | None = Field(
        None,
        max_length=128,
        description="Superuser (root) password of peer node; not needed with a token.",
        json_schema_extra={
            "ask": "Please enter superuser (root) password for '{hostname}': ",
            "unless": ["token"],
        },
    )
    token: str | None = Field(
        None,
        max_length=2048,
        description="A join token ('pvecm token' on a member), instead of the password and fingerprint.",
    )
    fingerprint: str | None = Field(
        None,
        pattern="^([A-Fa-f0-9]{2}:){31}[A-Fa-f0-9]{2}$",
        description="Certificate SHA 256 fingerprint.",
        json_schema_extra={
            "confirm": {
                "method": "GET /kvorum/cluster/fingerprint",
                "given": ["hostname"],
                "show": "The authenticity of host '{hostname}' can't be established.\n"
                "X509 SHA256 key fingerprint is {value}.",
                "ask": "Are you sure you want to continue connecting (yes/no)? ",
            },
            "unless": ["token"],
        },
    )
    nodeid: int | None = Field(None, ge=1, description="Node id for this node.")
    votes: int | None = Field(None, ge=0, description="Number of votes for this node.")
    force: Boolean = Field(False, description="Do not refuse what only may be wrong; say it as a warning.")
    keep_guests: Boolean = Field(
        False,
        alias="keep-guests",
        description="Take this node's guests and its own storages along, if no vmid clashes.",
    )
    renumber: Boolean = Field(
        False, description="Take them along, and give free ids to those whose id the cluster has."
    )


class Peer(Parameters):
    hostname: str = Field(min_length=1, max_length=253, description="Hostname (or IP) of a cluster member.")


class AddNode(Links):
    node: NodeName
    nodeid: int | None = Field(None, ge=1, description="Node id for this node.")
    votes: int | None = Field(None, ge=0, description="Number of votes for this node.")
    force: Boolean = Field(False, description="Do not refuse if the node is listed already.")
    new_node_ip: str | None = Field(None, description="IP address of the node, link 0 if none is given.")
    apiversion: int | None = Field(None, description="The JOIN_API_VERSION of the new node.")
    brought: str | None = Field(
        None, max_length=MOST_BYTES, description="The guests and storages that the node brings along."
    )
    withdrawal: str | None = Field(
        None,
        pattern=f"^[0-9a-f]{{{2 * SECRET_BYTES}}}$",
        description="A secret by which the node can take itself off the list again; made here if not given.",
    )


class JoinInfoOf(Parameters):
    node: NodeName | None = Field(None, description="The node for which the joinee gets the information.")


class OneNode(Parameters):
    node: NodeName


class Expected(Parameters):
    expected: int = Field(ge=1, description="Expected votes.")


class Child(TypedDict):
    """An entry of a directory."""

    name: str


class Added(TypedDict):
    """What a node needs to come up as a member."""

    corosync_authkey: str
    corosync_conf: str
    warnings: list[str]
    withdrawal: NotRequired[str]
    """With this the node can take itself off the list again, whatever becomes of its login."""


class StatusRow(TypedDict):
    """The cluster, or one of its nodes."""

    type: str
    id: str
    name: str
    version: NotRequired[int]
    nodes: NotRequired[int]
    quorate: NotRequired[bool]
    nodeid: NotRequired[int]
    ip: NotRequired[str]
    online: NotRequired[bool]
    local: NotRequired[bool]
    level: NotRequired[str]


class ChoiceRow(TypedDict):
    """Any ``count`` of these voters."""

    count: int
    of: list[str]


class CautionRow(TypedDict):
    """What fools people about this shape of a cluster."""

    kind: str
    sentence: str
    node: NotRequired[str]


class QuorumRow(TypedDict):
    """Quorum explained. ``quorate`` is Corosync's word, ``writable`` the store's: changes need both."""

    quorate: bool
    writable: bool
    total: int
    present: int
    needed: int
    may_fail: int
    fatal: list[str]
    missing: list[str]
    losses: list[list[ChoiceRow]]
    returns: list[list[ChoiceRow]]
    cautions: list[CautionRow]
    sentence: str
    sentences: list[str]
    reason: NotRequired[str]
    """Why nothing can be changed on this node, in the store's words."""
    refused: NotRequired[dict[str, str]]
    """Edits of corosync.conf that were refused: the node and why."""


def configuration_of(store: Store) -> Configuration | None:
    """The cluster's configuration as the store has it; ``None`` on a node alone."""
    file = store.read(CONFIGURATION)
    return Configuration.read(file.text) if file is not None else None


def configured(store: Store) -> tuple[File, Configuration]:
    """The configuration's file and what it says; raises ``NoCluster`` on a node alone."""
    file = store.read(CONFIGURATION)
    if file is None:
        raise NoCluster("this node is not in a cluster: create one first (pvecm create)")
    return file, Configuration.read(file.text)
