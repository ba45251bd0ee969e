"""How a migration's data travel: as the caller asks, else as the cluster's options say (``migration``)."""

from __future__ import annotations

import ipaddress
from typing import TypedDict

from kvorum.core import property_string
from kvorum.core.errors import ParameterError
from kvorum.guests.errors import GuestError
from kvorum.guests.methods.cluster_options import cluster_option
from kvorum.interface import Context


class Transport(TypedDict):
    """A part of a ``Wish``."""

    secure: bool
    network: str


def transport(ctx: Context, type: str | None = None, network: str | None = None) -> Transport:
    """What was asked, and the cluster's options for the rest.

    Raises ``ParameterError`` for a network that is none, ``GuestError`` for an option that can't be read.
    """
    if network is not None:
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError:
            sentence = f"'{network}' is no network; write such as 198.51.100.0/24"
            raise ParameterError({"migration_network": sentence}) from None
    try:
        options = _options(cluster_option(ctx, "migration"))
    except ValueError as error:
        raise GuestError(
            f"the cluster's option 'migration' can't be read: {error}; correct it in datacenter.cfg"
        ) from None
    return Transport(
        secure=(type or options.get("type", "secure")) == "secure",
        network=network or options.get("network", ""),
    )


def _options(text: str) -> dict[str, str]:
    options = property_string.parse(text, "type") if text else {}
    if options.keys() - {"type", "network"}:
        raise ValueError(f"'{text}' may name type and network alone")
    if options.get("type", "secure") not in ("secure", "insecure"):
        raise ValueError(f"type '{options['type']}' is neither secure nor insecure")
    if "network" in options:
        ipaddress.ip_network(options["network"], strict=False)
    return options
