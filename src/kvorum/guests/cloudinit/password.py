"""Passwords for cloud-init, hashed as /etc/shadow has them (crypt(5), SHA-512): the plain text is kept
nowhere.
"""

from __future__ import annotations

import ctypes
import re

from kvorum.core.errors import KvorumError

_PREFIX = b"$6$"
_HASH = re.compile(r"\$(?:1|2[aby]|5|6|y|gy|7)\$[./A-Za-z0-9$=,]+")
_MOST_BYTES = 255


def is_hash(text: str) -> bool:
    """Whether a text is a hash already."""
    return _HASH.fullmatch(text) is not None


def hashed(password: str) -> str:
    """The password's hash with a new salt; a hash stays as it is. Raises ``KvorumError`` without libcrypt."""
    if is_hash(password):
        return password
    phrase = password.encode()
    if not 0 < len(phrase) <= _MOST_BYTES or b"\0" in phrase:
        raise KvorumError(f"cipassword: the password must have 1 to {_MOST_BYTES} bytes")
    try:
        library = ctypes.CDLL("libcrypt.so.1")
    except OSError as error:
        raise KvorumError("cipassword: libcrypt.so.1 is not there: install Debian's libcrypt1") from error
    library.crypt_gensalt.restype = library.crypt.restype = ctypes.c_char_p
    library.crypt_gensalt.argtypes = [ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_int]
    library.crypt.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    made = library.crypt(phrase, library.crypt_gensalt(_PREFIX, 0, None, 0))
    if not made or made.startswith(b"*"):
        raise KvorumError("cipassword: the password can't be hashed")
    return bytes(made).decode()
