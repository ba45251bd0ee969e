"""API tokens."""

from __future__ import annotations

import uuid
from dataclasses import replace

from pydantic import Field

from kvorum.access import edits
from kvorum.access.changes import Draft, change, read_users
from kvorum.access.files import names
from kvorum.access.files.names import TokenName
from kvorum.access.files.secrets_cfg import hashed
from kvorum.access.files.user_cfg import Token
from kvorum.access.methods.users import Text, TokenRow, UserPath, require_root_for_root, token_row
from kvorum.core.errors import Conflict, ParameterError
from kvorum.interface import AnyOf, Boolean, Command, Context, OwnUser, UserPrivilege, method

_PERMISSION = AnyOf((OwnUser(), UserPrivilege("User.Modify")))


class TokenPath(UserPath):
    tokenid: TokenName = Field(description="The token's name, without its user.")


class NewToken(TokenPath):
    comment: Text | None = Field(None, max_length=2048, description="A note.")
    expire: int | None = Field(None, ge=0, description="Unix time at which it expires; 0: with its user.")
    privsep: Boolean | None = Field(
        None, description="Only the rights given to the token itself, and of those only its user's."
    )

    def given(self) -> dict[str, object]:
        """The attributes that were given."""
        found = {name: getattr(self, name) for name in ("comment", "expire", "privsep")}
        return {name: value for name, value in found.items() if value is not None}


class ChangedToken(NewToken):
    delete: str | None = Field(
        None, max_length=4096, description="Settings to remove: comment, expire, privsep."
    )


@method(
    "GET",
    "/access/users/{userid}/token",
    permission=_PERMISSION,
    commands=(Command("pveum user token list", "userid"),),
)
async def list_tokens(ctx: Context, p: UserPath) -> list[TokenRow]:
    """Get user API tokens."""
    user = edits.the_user(read_users(ctx.store), p.userid)
    return [token_row(name, token) for name, token in sorted(user.tokens.items())]


@method("GET", "/access/users/{userid}/token/{tokenid}", permission=_PERMISSION)
async def read_token(ctx: Context, p: TokenPath) -> dict[str, object]:
    """Get specific API token information."""
    return _info(edits.the_token(read_users(ctx.store), p.userid, p.tokenid))


@method(
    "POST",
    "/access/users/{userid}/token/{tokenid}",
    permission=_PERMISSION,
    protected=True,
    commands=(Command("pveum user token add", "userid", "tokenid"),),
)
async def create_token(ctx: Context, p: NewToken) -> dict[str, object]:
    """Generate a new API token for a specific user. The value is shown once and kept only as a hash."""
    require_root_for_root(ctx, p.userid)
    name, secret = f"{p.userid}!{p.tokenid}", str(uuid.uuid4())

    def edit(draft: Draft) -> Token:
        if p.tokenid in edits.the_user(draft.users, p.userid).tokens:
            raise Conflict(f"token '{p.tokenid}' of user '{p.userid}' already exists")
        token = replace(Token(), **p.given())  # type: ignore[arg-type]  # the names are those of the fields
        draft.users = edits.put_token(draft.users, p.userid, p.tokenid, token)
        draft.tokens = draft.tokens.put(name, hashed(secret))
        return token

    token = await change(ctx.store, edit, who=ctx.identity.name)
    return {"full-tokenid": name, "value": secret, "info": _info(token)}


@method(
    "PUT",
    "/access/users/{userid}/token/{tokenid}",
    permission=_PERMISSION,
    protected=True,
    commands=(Command("pveum user token modify", "userid", "tokenid"),),
)
async def update_token(ctx: Context, p: ChangedToken) -> dict[str, object]:
    """Update API token for a specific user."""
    require_root_for_root(ctx, p.userid)
    deleted, given = names.each(p.delete), p.given()
    for name in deleted:
        if name not in ("comment", "expire", "privsep"):
            raise ParameterError({"delete": f"a token has no setting '{name}'"})
        if name in given:
            raise ParameterError({name: f"can't delete '{name}' and set it at the same time"})
    defaults = {name: getattr(Token(), name) for name in deleted}

    def edit(draft: Draft) -> Token:
        token = edits.the_token(draft.users, p.userid, p.tokenid)
        changed = replace(token, **defaults, **given)  # type: ignore[arg-type]  # names of the fields
        draft.users = edits.put_token(draft.users, p.userid, p.tokenid, changed)
        return changed

    return _info(await change(ctx.store, edit, who=ctx.identity.name))


@method(
    "DELETE",
    "/access/users/{userid}/token/{tokenid}",
    permission=_PERMISSION,
    protected=True,
    commands=(Command("pveum user token remove", "userid", "tokenid"),),
)
async def delete_token(ctx: Context, p: TokenPath) -> None:
    """Remove API token for a specific user."""
    require_root_for_root(ctx, p.userid)

    def edit(draft: Draft) -> None:
        draft.users = edits.remove_token(draft.users, p.userid, p.tokenid)
        draft.tokens = draft.tokens.without(f"{p.userid}!{p.tokenid}")

    await change(ctx.store, edit, who=ctx.identity.name)


def _info(token: Token) -> dict[str, object]:
    info: dict[str, object] = {"expire": token.expire, "privsep": token.privsep}
    return {**info, "comment": token.comment} if token.comment else info
