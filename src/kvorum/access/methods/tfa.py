"""Second factors of users."""

from __future__ import annotations

import secrets
import time
from dataclasses import replace
from typing import Literal, TypedDict

from pydantic import Field

from kvorum.access.changes import Draft, change, read_factors, read_users
from kvorum.access.edits import the_user
from kvorum.access.files.tfa_cfg import TotpFactor, UserFactors
from kvorum.access.methods.login import confirm
from kvorum.access.methods.users import Text, UserPath, require_root_for_root
from kvorum.access.second_factor import make_recovery, matching_count, read_uri
from kvorum.core.errors import Conflict, KvorumError, ParameterError
from kvorum.interface import (
    AnyOf,
    Boolean,
    Command,
    Context,
    LoggedIn,
    NoParameters,
    OwnUser,
    UserPrivilege,
    method,
)

_SEE = AnyOf((OwnUser(), UserPrivilege("User.Modify", "Sys.Audit")))
_CHANGE = AnyOf((OwnUser(), UserPrivilege("User.Modify")))
_RECOVERY = "recovery"


class FactorPath(UserPath):
    id: str = Field(max_length=128, description="The factor's id.")


class TypesOf(UserPath):
    multiple: Boolean = Field(False, description="Show all kinds of factors.")


class NewFactor(UserPath):
    type: Literal["totp", "u2f", "webauthn", "recovery", "yubico"] = Field(description="The kind of factor.")
    description: Text | None = Field(None, max_length=255, description="What tells it from others.")
    totp: str | None = Field(None, max_length=4096, description="The otpauth:// address with the secret.")
    value: str | None = Field(None, max_length=256, description="The generator's present password.")
    challenge: str | None = Field(None, max_length=4096, description="For kinds that need one.")
    password: str | None = Field(None, min_length=5, max_length=64, description="The caller's own password.")


class ChangedFactor(FactorPath):
    description: Text | None = Field(None, max_length=255, description="What tells it from others.")
    enable: Boolean | None = Field(None, description="Whether logins may use it.")
    password: str | None = Field(None, min_length=5, max_length=64, description="The caller's own password.")


class RemovedFactor(FactorPath):
    password: str | None = Field(None, min_length=5, max_length=64, description="The caller's own password.")


class Factor(TypedDict):
    """A factor without its secret."""

    id: str
    type: str
    description: str
    created: int
    enable: bool


def _shown(factors: UserFactors) -> list[Factor]:
    rows = [
        Factor(id=f.id, type="totp", description=f.description, created=f.created, enable=f.enable)
        for f in factors.totp
    ]
    if factors.recovery is not None:
        rows.append(
            Factor(
                id=_RECOVERY, type=_RECOVERY, description="", created=factors.recovery.created, enable=True
            )
        )
    return rows


@method("GET", "/access/tfa", permission=LoggedIn(), protected=True)
async def list_all(ctx: Context, p: NoParameters) -> list[dict[str, object]]:
    """List TFA configurations of users: the caller's own and those it may look after or audit."""
    config = read_users(ctx.store)
    rows: list[dict[str, object]] = []
    for user, factors in sorted(read_factors(ctx.store).users.items()):
        paths = ["/access/groups", *(f"/access/groups/{g}" for g in config.groups_of(user))]
        may = any(ctx.allowed(path, name) for path in paths for name in ("User.Modify", "Sys.Audit"))
        if user == ctx.identity.user or may:
            row: dict[str, object] = {"userid": user, "entries": _shown(factors)}
            rows.append({**row, "totp-locked": True} if factors.locked else row)
    return rows


@method(
    "GET",
    "/access/tfa/{userid}",
    permission=_SEE,
    protected=True,
    commands=(Command("pveum user tfa list", "userid"),),
)
async def list_factors(ctx: Context, p: UserPath) -> list[Factor]:
    """List TFA configurations of a user."""
    the_user(read_users(ctx.store), p.userid)
    return _shown(read_factors(ctx.store).of(p.userid))


@method("GET", "/access/tfa/{userid}/{id}", permission=_SEE, protected=True)
async def read_factor(ctx: Context, p: FactorPath) -> Factor:
    """Fetch a requested TFA entry if present."""
    for row in _shown(read_factors(ctx.store).of(p.userid)):
        if row["id"] == p.id:
            return row
    raise KvorumError(f"user '{p.userid}' has no second factor '{p.id}'")


@method("GET", "/access/users/{userid}/tfa", permission=_SEE, protected=True)
async def types_of(ctx: Context, p: TypesOf) -> dict[str, object]:
    """Get user TFA types (Personal and Realm)."""
    the_user(read_users(ctx.store), p.userid)
    types = sorted({row["type"] for row in _shown(read_factors(ctx.store).of(p.userid))})
    if p.multiple:
        return {"types": types}
    return {"user": "oath"} if "totp" in types else {}


@method("POST", "/access/tfa/{userid}", permission=_CHANGE, protected=True, allow_token=False)
async def add_factor(ctx: Context, p: NewFactor) -> dict[str, object]:
    """Add a TFA entry to the user: a generator whose present password is shown, or recovery keys."""
    the_user(read_users(ctx.store), p.userid)
    if p.type not in ("totp", _RECOVERY):
        raise ParameterError(
            {"type": f"factors of type '{p.type}' are not supported yet: totp and recovery are"}
        )
    require_root_for_root(ctx, p.userid)
    await confirm(ctx, p.password)
    now = time.time()
    if p.type == _RECOVERY:
        recovery, keys = make_recovery(now)

        def put_recovery(draft: Draft) -> None:
            factors = draft.factors.of(p.userid)
            if factors.recovery_left:
                raise Conflict(f"user '{p.userid}' has recovery keys: remove them first")
            draft.factors = draft.factors.put(p.userid, replace(factors, recovery=recovery))

        await change(ctx.store, put_recovery, who=ctx.identity.name)
        return {"id": _RECOVERY, "recovery": list(keys)}
    factor = _generator(p, now)

    def put_generator(draft: Draft) -> None:
        factors = draft.factors.of(p.userid)
        draft.factors = draft.factors.put(p.userid, replace(factors, totp=(*factors.totp, factor)))

    await change(ctx.store, put_generator, who=ctx.identity.name)
    return {"id": factor.id}


def _generator(p: NewFactor, now: float) -> TotpFactor:
    """The generator that is added, once it was shown that the user has it."""
    if p.totp is None or p.value is None:
        missing = {"totp": p.totp, "value": p.value}
        raise ParameterError({n: "a factor of type 'totp' needs it" for n, v in missing.items() if v is None})
    if read_uri(p.totp) is None:
        raise ParameterError({"totp": "is no otpauth://totp/… address with a secret of 80 bits at least"})
    factor = TotpFactor(
        id=secrets.token_hex(16), description=p.description or "", created=int(now), uri=p.totp
    )
    count = matching_count(factor, p.value, now, 0)
    if count is None:
        raise ParameterError({"value": "is not the generator's present password: are both clocks right?"})
    return replace(factor, last_count=count)


@method("PUT", "/access/tfa/{userid}/{id}", permission=_CHANGE, protected=True, allow_token=False)
async def update_factor(ctx: Context, p: ChangedFactor) -> None:
    """Update a TFA entry of a user."""
    require_root_for_root(ctx, p.userid)
    await confirm(ctx, p.password)
    changes: dict[str, object] = {
        name: value for name in ("description", "enable") if (value := getattr(p, name)) is not None
    }

    def edit(draft: Draft) -> None:
        factors = draft.factors.of(p.userid)
        if p.id not in {f.id for f in factors.totp}:
            raise KvorumError(f"user '{p.userid}' has no second factor '{p.id}' that can be changed")
        totp = tuple(
            replace(f, **changes) if f.id == p.id else f  # type: ignore[arg-type]  # the fields' names
            for f in factors.totp
        )
        draft.factors = draft.factors.put(p.userid, replace(factors, totp=totp))

    await change(ctx.store, edit, who=ctx.identity.name)


@method(
    "DELETE",
    "/access/tfa/{userid}/{id}",
    permission=_CHANGE,
    protected=True,
    allow_token=False,
    commands=(Command("pveum user tfa delete", "userid", "id"),),
)
async def remove_factor(ctx: Context, p: RemovedFactor) -> None:
    """Delete a TFA entry by ID."""
    require_root_for_root(ctx, p.userid)
    await confirm(ctx, p.password)

    def edit(draft: Draft) -> None:
        factors = draft.factors.of(p.userid)
        if p.id == _RECOVERY and factors.recovery is not None:
            left = replace(factors, recovery=None)
        else:
            left = replace(factors, totp=tuple(f for f in factors.totp if f.id != p.id))
        if left == factors:
            raise KvorumError(f"user '{p.userid}' has no second factor '{p.id}'")
        draft.factors = draft.factors.put(p.userid, left)

    await change(ctx.store, edit, who=ctx.identity.name)


@method(
    "PUT",
    "/access/users/{userid}/unlock-tfa",
    permission=UserPrivilege("User.Modify"),
    protected=True,
    commands=(Command("pveum user tfa unlock", "userid"),),
)
async def unlock(ctx: Context, p: UserPath) -> bool:
    """Unlock a user's TFA authentication."""
    require_root_for_root(ctx, p.userid)

    def edit(draft: Draft) -> bool:
        the_user(draft.users, p.userid)
        factors = draft.factors.of(p.userid)
        if factors.locked:
            draft.factors = draft.factors.put(p.userid, replace(factors, locked=False))
        return factors.locked

    return await change(ctx.store, edit, who=ctx.identity.name)
