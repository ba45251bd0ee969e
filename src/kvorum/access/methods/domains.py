"""Realms."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from pydantic import ConfigDict, Field

from kvorum.access.changes import Draft, change, read_realms
from kvorum.access.files import domains_cfg, names
from kvorum.access.files.domains_cfg import BUILT_IN
from kvorum.access.files.names import RealmName
from kvorum.access.methods.users import Text
from kvorum.access.realms import Realms
from kvorum.core.errors import Conflict, ParameterError
from kvorum.interface import Anyone, Boolean, Command, Context, NoParameters, Parameters, Privilege, method

_ALLOCATE = Privilege("/access/realm", "Realm.Allocate")
_SETTINGS = frozenset({"comment", "default"})


class Domain(TypedDict):
    """A realm, as the login dialog lists it."""

    realm: str
    type: str
    comment: str
    default: NotRequired[bool]


class RealmPath(Parameters):
    realm: RealmName = Field(max_length=32, description="The realm.")


class RealmSettings(RealmPath):
    comment: Text | None = Field(None, max_length=4096, description="What the login dialog shows.")
    default: Boolean | None = Field(None, description="Offered first in the login dialog.")

    def given(self) -> dict[str, str]:
        """The settings that were given, as the file has them."""
        found: dict[str, str] = {}
        if self.comment is not None:
            if "\n" in self.comment:
                raise ParameterError({"comment": "must be one line"})
            found["comment"] = self.comment
        if self.default is not None:
            found["default"] = str(int(self.default))
        return found


class NewRealm(RealmSettings):
    model_config = ConfigDict(extra="allow")

    type: str = Field(max_length=32, description="The kind of realm.")


class ChangedRealm(RealmSettings):
    delete: str | None = Field(None, max_length=4096, description="Settings to remove.")
    digest: str | None = Field(None, max_length=64, description="Only if the file still has this SHA-1.")


@method("GET", "/access/domains", permission=Anyone(), commands=(Command("pveum realm list"),))
async def list_realms(ctx: Context, p: NoParameters) -> list[Domain]:
    """Authentication domain index."""
    here = {realm.name: realm for realm in ctx.service(Realms)}
    rows = []
    for name, entry in read_realms(ctx.store).realms.items():
        realm = here.get(name)
        comment = entry.comment or (realm.comment if realm else BUILT_IN.get(name, ""))
        row = Domain(realm=name, type=entry.type, comment=comment)
        rows.append({**row, "default": True} if entry.default else row)
    return rows


@method(
    "POST",
    "/access/domains",
    permission=_ALLOCATE,
    protected=True,
    commands=(Command("pveum realm add", "realm"),),
)
async def create_realm(ctx: Context, p: NewRealm) -> None:
    """Add an authentication server. Realms of further kinds are not there yet: pam and pve always are."""
    if p.realm in read_realms(ctx.store).realms:
        raise Conflict(f"domain '{p.realm}' already exists")
    if p.type in BUILT_IN:
        raise ParameterError({"type": f"there is one realm of type '{p.type}', called so, and it is there"})
    raise ParameterError({"type": f"realms of type '{p.type}' are not supported yet: pam and pve are"})


@method(
    "GET",
    "/access/domains/{realm}",
    permission=Privilege("/access/realm", "Realm.Allocate", "Sys.Audit", any_of=True),
)
async def read_realm(ctx: Context, p: RealmPath) -> dict[str, object]:
    """Get auth server configuration."""
    entry = read_realms(ctx.store).get(p.realm)
    file = ctx.store.read(domains_cfg.FILE)
    shown: dict[str, object] = {"type": entry.type, **entry.options}
    if "default" in entry.options:
        shown["default"] = entry.default
    return {**shown, "digest": file.digest} if file is not None else shown


@method(
    "PUT",
    "/access/domains/{realm}",
    permission=_ALLOCATE,
    protected=True,
    commands=(Command("pveum realm modify", "realm"),),
)
async def update_realm(ctx: Context, p: ChangedRealm) -> None:
    """Update authentication server settings."""
    deleted, given = names.each(p.delete), p.given()
    for name in deleted:
        if name not in _SETTINGS:
            raise ParameterError({"delete": f"a realm has no setting '{name}' that can be removed"})
        if name in given:
            raise ParameterError({name: f"can't delete '{name}' and set it at the same time"})

    def edit(draft: Draft) -> None:
        draft.realms = draft.realms.update(p.realm, given, deleted)

    await change(ctx.store, edit, who=ctx.identity.name, digest=p.digest, path=domains_cfg.FILE)


@method(
    "DELETE",
    "/access/domains/{realm}",
    permission=_ALLOCATE,
    protected=True,
    commands=(Command("pveum realm delete", "realm"),),
)
async def delete_realm(ctx: Context, p: RealmPath) -> None:
    """Delete an authentication server; its users stay and can't log in."""

    def edit(draft: Draft) -> None:
        draft.realms = draft.realms.remove(p.realm)

    await change(ctx.store, edit, who=ctx.identity.name)
