"""One call of a method, from a caller who is known already: authorise, decode, call, and begin its task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from kvorum.core import ids
from kvorum.core.errors import KvorumError, ParameterError, PermissionDenied
from kvorum.interface.declare import (
    Anyone,
    Authority,
    Context,
    Identity,
    LoggedIn,
    Parameters,
    Services,
    Upload,
    Work,
)
from kvorum.interface.decode import Pairs
from kvorum.interface.permission import authorise
from kvorum.interface.router import Listing, Match, Route
from kvorum.store import Store

NOBODY = Identity(user="nobody@none")
"""Who calls a method that asks for no login, without one. It has no rights."""


class TaskStarter(Protocol):
    """Begins tasks; the tasks room implements it."""

    def start(self, work: Work, user: str) -> str:
        """Begin ``work`` for ``user`` and return its UPID at once."""
        ...


class Auditor(Protocol):
    """Writes down who changed what; the access room implements it."""

    def note(
        self,
        identity: Identity,
        verb: str,
        path: str,
        parameters: Mapping[str, str],
        status: int,
        outcome: str,
    ) -> None:
        """Note a change that was asked for: ``outcome`` is its task's UPID or the error's sentence."""
        ...


class Caller:
    """Carries methods out with what this daemon holds; ``auditor`` is told of all but GET."""

    def __init__(
        self,
        store: Store,
        services: Services,
        authority: Authority,
        tasks: TaskStarter | None = None,
        auditor: Auditor | None = None,
    ) -> None:
        self._store = store
        self._services = services
        self._authority = authority
        self._tasks = tasks
        self._auditor = auditor

    def authorise(self, match: Match, identity: Identity | None, given: Pairs) -> None:
        """Check the method's requirement before anything else is done or passed on.

        Raises ``AuthenticationError`` or ``PermissionDenied``.
        """
        try:
            self._authorise(match, identity, given)
        except KvorumError as error:
            self._note(match, identity, given, error.code, str(error))
            raise

    def _authorise(self, match: Match, identity: Identity | None, given: Pairs) -> None:
        target = match.target
        if isinstance(target, Listing):
            authorise(LoggedIn(), identity, self._authority, {})
            return
        method = target.method
        if identity is not None and identity.token is not None and not method.allow_token:
            raise PermissionDenied("Permission check failed (API tokens may not call this method)")
        if not isinstance(method.permission, Anyone):
            authorise(method.permission, identity, self._authority, _values(match.values, given))

    async def call(
        self, match: Match, identity: Identity | None, given: Pairs, upload: Upload | None = None
    ) -> object:
        """Carry the method out for a caller ``authorise`` has let through; for a task, return the UPID.

        The requirement is checked again for the values as the method reads them, so that two spellings of
        one name can't differ in what they allow. Raises ``ParameterError``, ``PermissionDenied`` and
        whatever the method raises.
        """
        try:
            result = await self._call(match, identity, given, upload)
        except ParameterError as error:
            wrong = ", ".join(error.errors)  # not the sentences, which may quote a password
            self._note(match, identity, given, error.code, f"{error.args[0]} ({wrong})")
            raise
        except KvorumError as error:
            self._note(match, identity, given, error.code, str(error))
            raise
        except Exception as error:
            self._note(match, identity, given, 500, type(error).__name__)
            raise
        upid = result if isinstance(result, str) and result.startswith("UPID:") else ""
        self._note(match, identity, given, 200, upid)
        return result

    def _note(self, match: Match, identity: Identity | None, given: Pairs, status: int, outcome: str) -> None:
        if self._auditor is None or not isinstance(match.target, Route) or match.target.method.verb == "GET":
            return
        method = match.target.method
        path = "/".join(
            match.values.get(part[1:-1], part) if part.startswith("{") else part
            for part in method.path.split("/")
        )
        parameters = {name: text for name, text in given if name not in match.values}
        self._auditor.note(identity or NOBODY, method.verb, path, parameters, status, outcome)

    async def _call(
        self, match: Match, identity: Identity | None, given: Pairs, upload: Upload | None
    ) -> object:
        target = match.target
        if isinstance(target, Listing):
            _check_names(match.values)
            return target.rows()
        method = target.method
        parameters = target.decoder.decode(match.values, given)
        if not isinstance(method.permission, Anyone | LoggedIn):
            authorise(method.permission, identity, self._authority, _as_read(parameters))
        who = identity or NOBODY
        context = Context(self._store, self._services, who, self._authority, upload)
        result = await method.handler(context, parameters)
        if isinstance(result, Work):
            assert method.task, (
                f"{method.verb} {method.path} returned Work and is not declared with task=True"
            )
            assert self._tasks is not None, (
                f"{method.verb} {method.path} is a task and must be protected=True"
            )
            return self._tasks.start(result, who.name)
        return result


def _values(path: Mapping[str, str], given: Pairs) -> Mapping[str, str]:
    """The values for a permission's path; what stands in the path wins over what was sent beside it."""
    return {**dict(given), **path} if given else path


def _as_read(parameters: Parameters) -> Mapping[str, str]:
    return {
        field.alias or name: str(value)
        for name, field in type(parameters).model_fields.items()
        if isinstance(value := getattr(parameters, name), str | int)
    }


def _check_names(values: Mapping[str, str]) -> None:
    """Raise ``ParameterError`` below what can't be a node, a guest or a storage: nothing is listed there."""
    errors = {}
    for name, check in _NAMES.items():
        try:
            if name in values:
                check(values[name])
        except ValueError as error:
            errors[name] = str(error)
    if errors:
        raise ParameterError(errors)


_NAMES: Mapping[str, Callable[[str], object]] = {
    "node": ids.node_name, "vmid": ids.vmid, "storage": ids.storage_name,
}  # fmt: skip
