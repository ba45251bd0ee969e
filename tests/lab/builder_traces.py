"""What would tell where the package was built: this machine's registries, proxies, certificates and places.

All of it is looked up when the test runs, so that nothing of it stands in the repository.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

PUBLIC = {
    "deb.debian.org",
    "security.debian.org",
    "pypi.org",
    "files.pythonhosted.org",
    "registry.npmjs.org",
    "localhost",
    "127.0.0.1",
}
"""Hosts that say nothing of the builder."""
SHORTEST = 5
"""A shorter text would be found by chance."""
OWN_CERTIFICATES = Path("/usr/local/share/ca-certificates")
VARIABLES = re.compile(
    r"^(PIP_|UV_|NPM_CONFIG_|KVORUM_LAB_CACHE$|KVORUM_DEBIAN_MIRROR$|.*_proxy$)", re.IGNORECASE
)


def all_of(repository: Path) -> set[str]:
    """Every text that must not be in the package."""
    places = {str(repository), "/tmp/source", "/tmp/ca.crt", "/opt/builder"}
    told = {*settings(), *certificates()}
    return {text for text in {*places, *told} if len(text) >= SHORTEST and text not in PUBLIC}


def settings() -> Iterator[str]:
    """Hosts and places in the settings of pip, npm and apt and in the environment."""
    values = [value for name, value in os.environ.items() if VARIABLES.match(name)]
    pip = [sys.executable, "-m", "pip", "config", "list"]
    values += subprocess.run(pip, capture_output=True, text=True, check=True).stdout.splitlines()
    npm = Path(sys.executable).with_name("npm")
    shown = subprocess.run([npm, "config", "list", "--json"], capture_output=True, text=True, check=True)
    given = json.loads(shown.stdout)
    values += [str(given.get(name)) for name in ("registry", "proxy", "https-proxy", "noproxy")]
    apt = Path("/etc/apt")
    for path in (*apt.glob("*.list"), *apt.glob("sources.list.d/*"), *apt.glob("apt.conf.d/*[Pp]roxy*")):
        values += [line for line in path.read_text().splitlines() if not line.startswith("#")]
    for value in values:
        yield from re.findall(r"\bhttps?://(?:[^/@\s'\"]*@)?([^/:\s'\"]+)", value)
        yield from re.findall(r"(?:file://|(?<![\w/:.]))(/(?:opt|srv|home|mnt|work)/[^\s'\"]+)", value)


def certificates() -> Iterator[str]:
    """The names in certificates that were added to this machine's."""
    for path in OWN_CERTIFICATES.rglob("*.crt"):
        for certificate in x509.load_pem_x509_certificates(path.read_bytes()):
            for kind in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
                for attribute in certificate.subject.get_attributes_for_oid(kind):
                    yield str(attribute.value)
