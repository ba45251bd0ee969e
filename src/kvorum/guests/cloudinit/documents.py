"""The texts that cloud-init reads, made from the settings: pure, the same settings give the same texts.

Formats: cloud-init's manual, "NoCloud" (user-data, meta-data, network-config version 1, vendor-data) and
"Config drive" version 2 (OpenStack's meta_data.json, and the network as interfaces(5), which cloudbase-init
reads too). Texts are YAML whose scalars are JSON strings, so nothing that a user writes can leave its place.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import uuid
from collections.abc import Iterator, Mapping

from kvorum.guests.cloudinit.settings import Card, Cloud

Texts = Mapping[str, str]
"""Text by what it is: ``user``, ``network``, ``meta``, ``vendor``."""


def generated(cloud: Cloud) -> dict[str, str]:
    """``user``, ``network`` and ``meta`` as they are without snippets of the admin's own."""
    user = _user_data(cloud)
    network = _network_config(cloud) if cloud.kind == "nocloud" else _interfaces(cloud)
    return with_meta(cloud, {"user": user, "network": network})


def with_meta(cloud: Cloud, texts: Texts) -> dict[str, str]:
    """With the meta-data for these texts: other texts are another instance, for which cloud-init runs
    anew.
    """
    instance = hashlib.sha256("\0".join([texts["user"], texts["network"]]).encode()).hexdigest()[:40]
    if cloud.kind == "nocloud":
        return {**texts, "meta": f"instance-id: {_text(instance)}\n"}
    meta: dict[str, object] = {
        "uuid": str(uuid.UUID(instance[:32])),
        "hostname": cloud.hostname,
        "public_keys": {f"SSHKEY{number}": key for number, key in enumerate(cloud.ssh_keys)},
        "network_config": {"content_path": "/content/0000"},
    }
    return {**texts, "meta": json.dumps(meta, indent=1) + "\n"}


def files(cloud: Cloud, texts: Texts) -> tuple[str, dict[str, str]]:
    """The label of the drive and its files by path."""
    if cloud.kind == "nocloud":
        names = {
            "user": "user-data",
            "meta": "meta-data",
            "network": "network-config",
            "vendor": "vendor-data",
        }
        return "cidata", {f"/{names[key]}": text for key, text in texts.items()}
    latest = "/openstack/latest"
    names = {"user": f"{latest}/user_data", "meta": f"{latest}/meta_data.json",
             "network": "/openstack/content/0000", "vendor": f"{latest}/vendor_data.json"}  # fmt: skip
    return "config-2", {names[key]: text for key, text in texts.items()}


_BREAKS = {number: f"\\u{number:04x}" for number in (0x7F, 0x85, 0x2028, 0x2029, 0xFEFF)}
"""What YAML takes for the end of a line, or does not take, and JSON does."""


def _text(value: str) -> str:
    """A scalar of YAML."""
    return json.dumps(value, ensure_ascii=False).translate(_BREAKS)


def _user_data(cloud: Cloud) -> str:
    lines = [
        "#cloud-config",
        f"hostname: {_text(cloud.hostname.partition('.')[0])}",
        "manage_etc_hosts: true",
    ]
    domain = cloud.search_domains[0] if cloud.search_domains else ""
    if "." in cloud.hostname:
        lines.append(f"fqdn: {_text(cloud.hostname)}")
    elif domain:
        lines.append(f"fqdn: {_text(f'{cloud.hostname}.{domain}')}")
    if cloud.user:
        lines.append(f"user: {_text(cloud.user)}")
    if cloud.user == "root":
        lines.append("disable_root: false")
    if cloud.password_hash:
        lines.append(f"password: {_text(cloud.password_hash)}")
    if cloud.ssh_keys:
        lines += ["ssh_authorized_keys:", *(f"  - {_text(key)}" for key in cloud.ssh_keys)]
    lines += ["chpasswd:", "  expire: false"]
    if cloud.user != "root":
        lines += ["users:", "  - default"]
    lines.append(f"package_upgrade: {'true' if cloud.upgrade else 'false'}")
    return "\n".join(lines) + "\n"


def _network_config(cloud: Cloud) -> str:
    lines = [
        "version: 1",
        "config:" if cloud.cards or cloud.nameservers or cloud.search_domains else "config: []",
    ]
    for card in cloud.cards:
        lines += [
            "  - type: physical",
            f"    name: {_text(card.name)}",
            f"    mac_address: {_text(card.mac)}",
        ]
        lines += ["    subnets:", *(f"      {line}" for line in _subnets(card))]
    if cloud.nameservers or cloud.search_domains:
        lines.append("  - type: nameserver")
        for key, words in (("address", cloud.nameservers), ("search", cloud.search_domains)):
            if words:
                lines += [f"    {key}:", *(f"      - {_text(word)}" for word in words)]
    return "\n".join(lines) + "\n"


def _subnets(card: Card) -> Iterator[str]:
    addresses = card.addresses
    if addresses.ip == "dhcp":
        yield "- type: dhcp4"
    elif addresses.ip:
        yield from ("- type: static", f"  address: {_text(addresses.ip)}")
        if addresses.gateway:
            yield f"  gateway: {_text(addresses.gateway)}"
    if addresses.ip6 == "dhcp":
        yield "- type: dhcp6"
    elif addresses.ip6 == "auto":
        yield "- type: ipv6_slaac"
    elif addresses.ip6:
        yield from ("- type: static6", f"  address: {_text(addresses.ip6)}")
        if addresses.gateway6:
            yield f"  gateway: {_text(addresses.gateway6)}"


def _interfaces(cloud: Cloud) -> str:
    """The network as Debian's interfaces(5)."""
    lines = ["auto lo", "iface lo inet loopback"]
    for index, card in enumerate(cloud.cards):
        lines += ["", f"auto {card.name}", *_stanzas(card)]
        if index == 0:
            if cloud.nameservers:
                lines.append(f"        dns-nameservers {' '.join(cloud.nameservers)}")
            if cloud.search_domains:
                lines.append(f"        dns-search {' '.join(cloud.search_domains)}")
    return "\n".join(lines) + "\n"


def _stanzas(card: Card) -> Iterator[str]:
    addresses = card.addresses
    families = (("inet", addresses.ip, addresses.gateway), ("inet6", addresses.ip6, addresses.gateway6))
    for family, address, gateway in families:
        if address in ("dhcp", "auto"):
            yield f"iface {card.name} {family} {address}"
        elif address:
            interface = ipaddress.ip_interface(address)
            yield f"iface {card.name} {family} static"
            yield f"        address {interface.ip}"
            yield f"        netmask {interface.netmask if family == 'inet' else interface.network.prefixlen}"
            if gateway:
                yield f"        gateway {gateway}"
