"""Files on their way into a storage: uploaded by a client, downloaded from a URL."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from pydantic import Field

from kvorum.core.errors import KvorumError, ParameterError
from kvorum.core.options_file import OptionsFile
from kvorum.interface import (
    AllOf,
    AnyOf,
    Boolean,
    Context,
    NodeName,
    Parameters,
    Privilege,
    StorageName,
    TaskLog,
    Where,
    Work,
    method,
)
from kvorum.storage.arrival import Arrival, place
from kvorum.storage.fetch import fetching, look
from kvorum.storage.half_made import HalfMade
from kvorum.storage.storages import Storages

_TEMPLATES = Privilege("/storage/{storage}", "Datastore.AllocateTemplate")
_NETWORK = AnyOf((Privilege("/", "Sys.Audit", "Sys.Modify"), Privilege("/nodes/{node}", "Sys.AccessNetwork")))
"""Whoever has a node fetch something may look about in its network."""


class _NewFile(Parameters):
    node: NodeName
    storage: StorageName
    content: Literal["iso", "vztmpl", "import"] = Field(description="Content type.")
    filename: str = Field(max_length=255, description="The name of the file to create; it is made plain.")
    checksum: str | None = Field(None, description="The expected checksum of the file.")
    checksum_algorithm: Literal["md5", "sha1", "sha224", "sha256", "sha384", "sha512"] | None = Field(
        None, alias="checksum-algorithm", description="The algorithm of the checksum."
    )

    def require_checksum_whole(self) -> None:
        """Raise ``ParameterError`` when a checksum came without its algorithm, or the other way round."""
        if (self.checksum is None) != (self.checksum_algorithm is None):
            lacking = "checksum" if self.checksum is None else "checksum-algorithm"
            raise ParameterError({lacking: "a checksum and its algorithm must be given together"})


class UploadParameters(_NewFile):
    tmpfilename: str | None = Field(None, description="Set by no client: the file comes in the body.")


class DownloadParameters(_NewFile):
    url: str = Field(pattern=r"^https?://.*", description="The URL to download the file from.")
    compression: str | None = Field(None, description="How the file is compressed.")
    verify_certificates: Boolean = Field(
        True, alias="verify-certificates", description="If false, no TLS certificates will be verified."
    )


class UrlQuestion(Parameters):
    node: NodeName
    url: str = Field(pattern=r"^https?://.*", description="The URL to query the metadata from.")
    verify_certificates: Boolean = Field(
        True, alias="verify-certificates", description="If false, no TLS certificates will be verified."
    )


class UrlMetadata(TypedDict):
    """What a server says of a file; ``size`` in bytes."""

    filename: NotRequired[str]
    mimetype: NotRequired[str]
    size: NotRequired[int]


@method(
    "POST",
    "/nodes/{node}/storage/{storage}/upload",
    permission=_TEMPLATES,
    where=Where.NODE,
    protected=True,
    task=True,
    upload=True,
)
async def upload(ctx: Context, p: UploadParameters) -> Work:
    """Upload templates, ISO images, OVAs and VM images."""
    p.require_checksum_whole()
    if p.tmpfilename is not None:
        raise ParameterError({"tmpfilename": "can't be given: send the file in the body"})
    if ctx.upload is None:
        raise ParameterError({"filename": "there is no file in the body"})
    kind = ctx.service(Storages).get(p.storage)
    volume, path = place(kind, p.content, p.filename)
    await kind.activate()
    arrival = Arrival(path, ctx.service(HalfMade), p.checksum_algorithm)
    length = await arrival.take(ctx.upload.chunks())

    async def run(log: TaskLog) -> None:
        log.line(f"{length} bytes arrived for '{volume}'")
        await arrival.settle(p.checksum or "", replace=True)
        log.line("finished file import successfully")

    return Work("imgcopy", p.storage, run)


@method(
    "POST",
    "/nodes/{node}/storage/{storage}/download-url",
    permission=AllOf((_TEMPLATES, _NETWORK)),
    where=Where.NODE,
    protected=True,
    task=True,
)
async def download(ctx: Context, p: DownloadParameters) -> Work:
    """Download templates, ISO images, OVAs and VM images by using an URL."""
    p.require_checksum_whole()
    if p.compression:
        raise ParameterError({"compression": "can't be undone here: give the URL of the plain file"})
    kind = ctx.service(Storages).get(p.storage)
    volume, path = place(kind, p.content, p.filename)
    if path.exists():
        raise KvorumError(f"refusing to override existing file '{volume}': remove it first")
    await kind.activate()
    proxy = _proxy(ctx)

    async def run(log: TaskLog) -> None:
        log.line(f"downloading {p.url} to {path}")
        arrival = Arrival(path, ctx.service(HalfMade), p.checksum_algorithm)
        async with fetching(p.url, p.verify_certificates, proxy, log.progress) as (offer, chunks):
            if offer.size > (room := kind.status_blocking().avail):
                raise KvorumError(f"storage '{kind.id}' has {room} bytes free; '{volume}' needs {offer.size}")
            length = await arrival.take(chunks)
        await arrival.settle(p.checksum or "")
        log.line(f"download of '{p.url}' to '{path}' finished: {length} bytes")

    return Work("download", p.storage, run)


@method("GET", "/nodes/{node}/query-url-metadata", permission=_NETWORK, where=Where.NODE)
async def metadata(ctx: Context, p: UrlQuestion) -> UrlMetadata:
    """Query metadata of an URL: file size, file name and mime type."""
    offer = await look(p.url, p.verify_certificates, _proxy(ctx))
    told = UrlMetadata(mimetype=offer.type)
    if offer.name:
        told["filename"] = offer.name
    if offer.size >= 0:
        told["size"] = offer.size
    return told


def _proxy(ctx: Context) -> str:
    """The cluster's way out, as datacenter.cfg has it; empty when there is none."""
    file = ctx.store.read("datacenter.cfg")
    return OptionsFile.parse(file.text).values.get("http_proxy", "") if file is not None else ""
