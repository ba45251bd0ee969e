"""The methods of the frame itself."""

from __future__ import annotations

from kvorum.core.options_file import OptionsFile
from kvorum.interface import Context, LoggedIn, NoParameters, method
from kvorum.node import datacenter
from kvorum.node.version import VERSION, Version


@method("GET", "/version", permission=LoggedIn())
async def api_version(ctx: Context, p: NoParameters) -> Version:
    """API version details, including some parts of the global datacenter config."""
    file = ctx.store.read(datacenter.FILE)
    console = OptionsFile.parse(file.text).values.get("console") if file is not None else None
    return Version(**VERSION, console=console) if console else VERSION
