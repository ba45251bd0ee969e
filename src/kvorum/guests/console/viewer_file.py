"""What virt-viewer is told to come to a guest's display (remote-viewer(1), "CONNECTION FILE"). Pure."""

from __future__ import annotations

from typing import TypedDict

from kvorum.core.spice_names import PROXY_PORT, TLS_PORT

SpiceConfig = TypedDict(
    "SpiceConfig",
    {
        "type": str,
        "title": str,
        "host": str,
        "proxy": str,
        "tls-port": int,
        "host-subject": str,
        "ca": str,
        "password": str,
        "delete-this-file": int,
        "secure-attention": str,
        "release-cursor": str,
        "toggle-fullscreen": str,
    },
)
"""The file's keys, which are also the answer in JSON."""

_SHORT = {"2.5.4.6": "C", "2.5.4.8": "ST", "2.5.4.7": "L", "2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.3": "CN"}
"""How OpenSSL calls what stands in subjects (X.520)."""


def spice_config(
    title: str, ticket: str, proxy: str, certificate: str, ca: str, password: str
) -> SpiceConfig:
    """The settings for one session; ``proxy`` is a host, the certificates are PEM.

    Raises ``ValueError`` for a certificate that can't be read.
    """
    host = f"[{proxy}]" if ":" in proxy and not proxy.startswith("[") else proxy
    return SpiceConfig(
        {
            "type": "spice",
            "title": " ".join(title.split()),
            "host": ticket,
            "proxy": f"http://{host}:{PROXY_PORT}",
            "tls-port": TLS_PORT,
            "host-subject": subject(certificate),
            "ca": ca.strip().replace("\n", "\\n") + "\\n",
            "password": password,
            "delete-this-file": 1,
            "secure-attention": "Ctrl+Alt+Ins",
            "release-cursor": "Ctrl+Alt+R",
            "toggle-fullscreen": "Shift+F11",
        }
    )


def subject(certificate: str) -> str:
    """A certificate's subject in the order it stands there, as SPICE's clients compare it.

    A comma or a backslash inside a value is written with a backslash before it.
    """
    from cryptography import x509  # pveproxy declares the method, and reads no certificates

    read = x509.load_pem_x509_certificate(certificate.encode())
    words = []
    for attribute in read.subject:
        value = str(attribute.value).replace("\\", "\\\\").replace(",", "\\,")
        words.append(f"{_SHORT.get(attribute.oid.dotted_string, attribute.oid.dotted_string)}={value}")
    return ",".join(words)
