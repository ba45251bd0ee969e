import asyncio
import functools
import secrets

import hypothesis
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from kvorum.store.memory import MemoryStore

# A loaded machine is slow, which says nothing about what is tested.
hypothesis.settings.register_profile(
    "loaded", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("loaded")


@functools.cache
def key_files() -> dict[str, bytes]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return {
        "priv/authkey.key": key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        "authkey.pub": key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
        "pve-www.key": secrets.token_bytes(32).hex().encode(),
        "user.cfg": b"user:root@pam:1:0:::::\nuser:joe@pve:1:0:::::\n",
    }


@pytest.fixture
def store() -> MemoryStore:
    made = MemoryStore("n1")

    async def fill() -> None:
        for path, data in key_files().items():
            await made.write(path, data)

    asyncio.run(fill())
    return made


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords are hashed with little memory in tests."""
    monkeypatch.setattr("kvorum.access.realms.HASH_MEMORY_KIB", 64)
