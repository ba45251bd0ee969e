"""How a method of the API is declared: once, as a typed function.

    class GuestPath(Parameters):
        node: NodeName
        vmid: Vmid

    @method("GET", "/nodes/{node}/qemu/{vmid}/status/current",
            permission=Privilege("/vms/{vmid}", "VM.Audit"), where=Where.NODE, protected=True)
    async def status(ctx: Context, p: GuestPath) -> GuestStatus:
        '''Get virtual machine status.'''

From this come REST, ``pvesh``, the commands, OpenAPI and the documentation. A method that takes long is
declared with ``task=True`` and returns ``Work``: it checks everything first, so that errors reach the caller,
and hands back what is then carried out as a task; the caller is answered with the task's UPID.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, WithJsonSchema

from kvorum.core import ids, property_string
from kvorum.core.errors import KvorumError
from kvorum.interface.signature import read_signature
from kvorum.store import Store

S = TypeVar("S")


class Parameters(BaseModel):
    """The parameters of a method, those in its path among them. Unknown ones are an error.

    A field's name is the parameter's; dashes are written as an alias: ``Field(alias="target-node")``.
    Validators are built at a method's first call: pveproxy knows all methods and calls few (7 MB).
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True, frozen=True, defer_build=True)


class NoParameters(Parameters):
    """For methods without any."""


def _boolean(value: object) -> object:
    return property_string.boolean(value) if isinstance(value, str) else value


NodeName = Annotated[str, AfterValidator(ids.node_name)]
Vmid = Annotated[
    int,
    BeforeValidator(lambda value: ids.vmid(value)),
    WithJsonSchema({"type": "integer", "minimum": ids.VMID_MIN, "maximum": ids.VMID_MAX}),
]
StorageName = Annotated[str, AfterValidator(ids.storage_name)]
Boolean = Annotated[bool, BeforeValidator(_boolean)]
"""1/0, on/off, yes/no, true/false on input; 1/0 on output."""


class Where(enum.Enum):
    """Which node must carry a method out."""

    ANY = "any"
    """Any node answers, from its copy of the store."""
    NODE = "node"
    """The node named ``node`` in the path; others forward to it."""


class Requirement:
    """What a caller must have; the kinds below."""


@dataclass(frozen=True, slots=True)
class Anyone(Requirement):
    """No login is asked for."""


@dataclass(frozen=True, slots=True)
class LoggedIn(Requirement):
    """Any user who has logged in; the method filters what it shows by itself."""


@dataclass(frozen=True, slots=True)
class RootOnly(Requirement):
    """``root@pam`` in person, no token."""


@dataclass(frozen=True, slots=True)
class NodeOnly(Requirement):
    """Another node of the cluster, known by a node ticket; never a user."""


@dataclass(frozen=True, slots=True)
class Privilege(Requirement):
    """All (or, with ``any_of``, one) of the privileges on a path such as ``/vms/{vmid}``.

    With ``require_param`` it is met only if that parameter was given.
    """

    path: str
    names: tuple[str, ...]
    any_of: bool = False
    require_param: str = ""

    def __init__(self, path: str, *names: str, any_of: bool = False, require_param: str = "") -> None:
        object.__setattr__(self, "path", path)
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "any_of", any_of)
        object.__setattr__(self, "require_param", require_param)


@dataclass(frozen=True, slots=True)
class OwnUser(Requirement):
    """The parameter ``userid`` names the caller itself (a token is not its user)."""


@dataclass(frozen=True, slots=True)
class RealmPrivilege(Requirement):
    """A privilege on ``/access/realm/REALM`` of the user that the parameter ``userid`` names."""

    name: str


class GroupsGiven(enum.Enum):
    """What a parameter ``groups`` means for ``UserPrivilege``."""

    IGNORED = "ignored"
    CREATE = "create"
    """The user will be in just these groups: the privilege is needed on every one of them."""
    UPDATE = "update"
    """As ``CREATE``, beside the user as it is."""


@dataclass(frozen=True, slots=True)
class UserPrivilege(Requirement):
    """One of the privileges on ``/access/groups``, or on a group that the user in ``userid`` is in."""

    names: tuple[str, ...]
    groups: GroupsGiven = GroupsGiven.IGNORED

    def __init__(self, *names: str, groups: GroupsGiven = GroupsGiven.IGNORED) -> None:
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "groups", groups)


@dataclass(frozen=True, slots=True)
class RightsOn(Requirement):
    """The right to give and take rights on the path in a parameter.

    That is Permissions.Modify there, or the privilege that allocates what lies there; who has only the latter
    may give no more than it has, which the method checks.
    """

    parameter: str = "path"


@dataclass(frozen=True, slots=True)
class AllOf(Requirement):
    """Every one of several requirements."""

    parts: tuple[Requirement, ...]


@dataclass(frozen=True, slots=True)
class AnyOf(Requirement):
    """At least one of several requirements."""

    parts: tuple[Requirement, ...]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who calls: a user (``root@pam``), perhaps through an API token, or another node (``node`` set)."""

    user: str
    token: str | None = None
    node: str | None = None
    address: str = ""
    """Where the request came from, for the audit log."""

    @property
    def name(self) -> str:
        """The name tasks and logs show: ``user@realm`` or ``user@realm!token``."""
        return f"{self.user}!{self.token}" if self.token else self.user


class Authority(Protocol):
    """Answers what a caller may do; the access room implements it."""

    def allowed(self, identity: Identity, path: str, privilege: str) -> bool:
        """Whether the caller has the privilege on the path, as its ACLs and propagation say."""
        ...

    def rights(self, identity: Identity) -> Callable[[str, str], bool]:
        """``allowed`` for one caller as of now, for a method that asks about thousands of paths at once.

        What it returns is used up within one answer and never kept.
        """
        ...

    def groups(self, user: str) -> frozenset[str] | None:
        """The groups a user is in; ``None`` when there is no such user."""
        ...


class Services:
    """What a daemon holds for its methods, found by type: ``services.get(GuestManager)``."""

    def __init__(self) -> None:
        self._by_type: dict[type[object], object] = {}

    def add(self, kind: type[S], service: S) -> None:
        """Register a service under its type; a second one for the same type is a programming error."""
        assert kind not in self._by_type, f"{kind.__name__} registered twice"
        self._by_type[kind] = service

    def get(self, kind: type[S]) -> S:
        """The service of this type; raises ``KvorumError`` when this daemon does not hold one."""
        try:
            return self._by_type[kind]  # type: ignore[return-value]  # keyed by its own type
        except KeyError:
            raise KvorumError(f"this daemon does not provide {kind.__name__}") from None

    def find(self, kind: type[S]) -> S | None:
        """The service of this type, ``None`` when this daemon does not hold one."""
        return self._by_type.get(kind)  # type: ignore[return-value]  # keyed by its own type


class Upload(Protocol):
    """A file that a client sends along, as it arrives."""

    def chunks(self) -> AsyncIterator[bytes]:
        """The file's bytes in pieces of at most 64 KiB, once.

        Raises ``ParameterError`` when what arrives is not whole or stands still.
        """
        ...


class WebSocket(Protocol):
    """A websocket (RFC 6455) that was opened for a method declared with ``websocket=True``."""

    async def receive(self) -> bytes | None:
        """The next message's bytes, texts as UTF-8; ``None`` when the client has closed."""
        ...

    async def send(self, data: bytes) -> None:
        """Send a message; waits while the client doesn't read. Raises ``ConnectionError`` when it is gone."""
        ...


Conversation = Callable[[WebSocket], Awaitable[None]]
"""What a method declared with ``websocket=True`` returns once all is checked; its end closes the socket."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a method is called with besides its parameters."""

    store: Store
    services: Services
    identity: Identity
    authority: Authority
    upload: Upload | None = None
    """The file that came with the call, for a method declared with ``upload=True``."""

    def service(self, kind: type[S]) -> S:
        """Shorthand for ``services.get``."""
        return self.services.get(kind)

    def allowed(self, path: str, privilege: str) -> bool:
        """Whether the caller has a privilege on a path; for methods that filter what they show."""
        return self.authority.allowed(self.identity, path, privilege)

    def rights(self) -> Callable[[str, str], bool]:
        """``allowed`` as of now, for thousands of paths in one answer."""
        return self.authority.rights(self.identity)


class TaskLog(Protocol):
    """What a running task writes to; its lines reach the log file, the page and the terminal."""

    def line(self, text: str) -> None:
        """Append one line to the task's log."""
        ...

    def warn(self, text: str) -> None:
        """Append a line and count a warning: the task then ends as ``WARNINGS: n`` instead of ``OK``."""
        ...

    def progress(self, fraction: float, text: str = "") -> None:
        """Say how far the task is, 0 to 1, for progress bars; not written to the log."""
        ...


@dataclass(frozen=True, slots=True)
class Work:
    """What a task does, checked and ready: ``type`` and ``id`` go into its UPID.

    ``run`` may be cancelled at any await (the user stops the task); it must then leave nothing half-made.
    """

    type: str
    id: str
    run: Callable[[TaskLog], Awaitable[None]]
    asked: Callable[[Identity], None] | None = None
    """Called whenever somebody asks for the state or the log of the task while it runs."""


@dataclass(frozen=True, slots=True)
class Command:
    """How a method appears as a command: ``Command("qm start", "vmid")`` is ``qm start <vmid> [--options]``.

    ``arguments`` are the parameters taken by position, in order; a last one ending in ``...`` takes all the
    rest. ``output`` names the function of the ``cli`` room that prints the result; empty: the generic table
    or ``key: value`` form. ``node`` (if a path parameter) is filled with the local node.
    """

    name: str
    arguments: tuple[str, ...]
    output: str
    fixed: Mapping[str, str]
    aliases: tuple[str, ...]

    def __init__(
        self,
        name: str,
        *arguments: str,
        output: str = "",
        fixed: Mapping[str, str] | None = None,
        aliases: tuple[str, ...] = (),
    ) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "arguments", arguments)
        object.__setattr__(self, "output", output)
        object.__setattr__(self, "fixed", dict(fixed or {}))
        object.__setattr__(self, "aliases", aliases)


Handler = Callable[[Context, Any], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Method:
    """One declared method, as the frame sees it."""

    verb: str
    path: str
    handler: Handler
    parameters: type[Parameters]
    result: Any
    """The annotated return type, from which the result's schema is made."""
    permission: Requirement
    where: Where
    protected: bool
    """Carried out by pvedaemon (root); else by whichever daemon was asked."""
    task: bool
    allow_token: bool
    summary: str
    commands: tuple[Command, ...] = field(default=())
    upload: bool = False
    """Takes a file: the body is ``multipart/form-data``, its fields first, and is never held whole."""
    remembered: bool = False
    """While the node in the path is offline, the one that was asked answers from what it remembers of it."""
    websocket: bool = False
    """Answers with a websocket; returns a ``Conversation``."""


_METHODS: dict[tuple[str, str], Method] = {}


def method(
    verb: str,
    path: str,
    *,
    permission: Requirement,
    where: Where = Where.ANY,
    protected: bool = False,
    task: bool = False,
    allow_token: bool = True,
    commands: tuple[Command, ...] = (),
    upload: bool = False,
    remembered: bool = False,
    websocket: bool = False,
) -> Callable[[Callable[[Context, Any], Awaitable[Any]]], Callable[[Context, Any], Awaitable[Any]]]:
    """Declare a method. The function takes ``(ctx: Context, p: SomeParameters)``; its docstring's first
    paragraph is the method's description. A second declaration of the same verb and path is an error."""

    def register(
        function: Callable[[Context, Any], Awaitable[Any]],
    ) -> Callable[[Context, Any], Awaitable[Any]]:
        parameters, result = read_signature(function)
        key = (verb, path)
        assert key not in _METHODS, f"{verb} {path} declared twice"
        _METHODS[key] = Method(
            verb=verb,
            path=path,
            handler=function,
            parameters=parameters,
            result=result,
            permission=permission,
            where=where,
            protected=protected,
            task=task,
            allow_token=allow_token,
            summary=(function.__doc__ or "").strip().split("\n\n")[0],
            commands=commands,
            upload=upload,
            remembered=remembered,
            websocket=websocket,
        )
        return function

    return register


def declared() -> tuple[Method, ...]:
    """All methods declared by the modules imported so far, sorted by path and verb."""
    return tuple(_METHODS[key] for key in sorted(_METHODS, key=lambda k: (k[1], k[0])))
