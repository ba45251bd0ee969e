"""The cluster's options (datacenter.cfg)."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from kvorum.core.errors import ParameterError
from kvorum.core.options_file import OptionsFile
from kvorum.interface import Context, LoggedIn, NoParameters, Parameters, TextList, method
from kvorum.node import datacenter
from kvorum.node.methods.models import CLUSTER_MODIFY, Row
from kvorum.store import Expect, Write


def _checked(key: str) -> AfterValidator:
    return AfterValidator(lambda text: datacenter.check(key, text))


class Options(Parameters):
    bwlimit: Annotated[str, _checked("bwlimit")] | None = Field(
        None, description="I/O bandwidth limits, KiB/s."
    )
    consent_text: str | None = Field(
        None, alias="consent-text", max_length=65536, description="Shown before logging in."
    )
    console: Annotated[str, _checked("console")] | None = Field(None, description="The console viewer.")
    crs: Annotated[str, _checked("crs")] | None = Field(None, description="Cluster resource scheduling.")
    delete: TextList = Field((), description="Settings to take out.")
    description: str | None = Field(None, max_length=65536, description="Notes about the cluster.")
    email_from: str | None = Field(None, description="Sender of notifications.")
    fencing: Annotated[str, _checked("fencing")] | None = Field(None, description="The fencing mode.")
    ha: Annotated[str, _checked("ha")] | None = Field(None, description="Settings of HA.")
    http_proxy: str | None = Field(None, pattern="^http://.*$", description="Proxy for downloads.")
    keyboard: Annotated[str, _checked("keyboard")] | None = Field(None, description="Keyboard of consoles.")
    language: Annotated[str, _checked("language")] | None = Field(None, description="The page's language.")
    mac_prefix: Annotated[str, _checked("mac_prefix")] | None = Field(
        None, description="First part of generated MAC addresses."
    )
    max_workers: int | None = Field(None, ge=1, description="Workers of tasks for many guests.")
    migration: Annotated[str, _checked("migration")] | None = Field(
        None, description="How guests are migrated, and over which network."
    )
    migration_unsecure: str | None = Field(None, description="Use 'migration' instead.")
    next_id: Annotated[str, _checked("next-id")] | None = Field(
        None, alias="next-id", description="Range of ids that are proposed."
    )
    notify: Annotated[str, _checked("notify")] | None = Field(None, description="What is notified of.")
    registered_tags: str | None = Field(
        None,
        alias="registered-tags",
        pattern=r"^(?:(?i:[a-z0-9_][a-z0-9_\-\+\.]*);)*(?i:[a-z0-9_][a-z0-9_\-\+\.]*)$",
        description="Tags that need Sys.Modify on '/' to be set.",
    )
    replication: Annotated[str, _checked("replication")] | None = Field(
        None, description="How guests are replicated, and over which network."
    )
    tag_style: Annotated[str, _checked("tag-style")] | None = Field(
        None, alias="tag-style", description="How tags look."
    )
    u2f: Annotated[str, _checked("u2f")] | None = Field(None, description="U2F.")
    user_tag_access: Annotated[str, _checked("user-tag-access")] | None = Field(
        None, alias="user-tag-access", description="Which tags users may set."
    )
    webauthn: Annotated[str, _checked("webauthn")] | None = Field(None, description="WebAuthn.")


@method("GET", "/cluster/options", permission=LoggedIn())
async def read_options(ctx: Context, p: NoParameters) -> Row:
    """Get datacenter options. Without 'Sys.Audit' on '/' not all options are returned."""
    file = ctx.store.read(datacenter.FILE)
    shown = datacenter.shown(OptionsFile.parse(file.text if file else ""))
    if not ctx.allowed("/", "Sys.Audit"):
        return {key: value for key, value in shown.items() if key in datacenter.FOR_ALL}
    return shown


@method("PUT", "/cluster/options", permission=CLUSTER_MODIFY, protected=True)
async def set_options(ctx: Context, p: Options) -> None:
    """Set datacenter options."""
    given = p.model_dump(by_alias=True, exclude_none=True, exclude={"delete", "description"})
    if both := sorted(set(p.delete) & given.keys()):
        raise ParameterError({key: f"can't delete '{key}' and set it at the same time" for key in both})
    file = ctx.store.read(datacenter.FILE)
    old = OptionsFile.parse(file.text if file else "")
    new = old.changed({key: str(value) for key, value in given.items()}, p.delete)
    if p.description is not None or "description" in p.delete:
        new = new.with_description(p.description or "")
    expect = Expect(datacenter.FILE, file.version if file else None)
    await ctx.store.transact([Write(datacenter.FILE, new.render().encode())], [expect], who=ctx.identity.name)
