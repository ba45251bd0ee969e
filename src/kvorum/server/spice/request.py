"""What a client asks of the proxy (RFC 9110, 9.3.6, CONNECT), and what it is told. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from kvorum.core.spice_names import PREFIX, TLS_PORT

MAX_HEAD_BYTES = 4096
MAX_SENTENCE = 500
END = b"\r\n\r\n"
FORWARDED = b"kvorum-forwarded"
_REASONS = {
    400: "Bad Request",
    403: "Forbidden",
    405: "Method Not Allowed",
    408: "Request Timeout",
    502: "Bad Gateway",
    503: "Service Unavailable",
}


class Refused(Exception):
    """A request that is not granted, with its status and a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for one channel."""

    ticket: str
    forwarded: bool
    """Whether another node's proxy has handed it on: that is done once."""


def parse(head: bytes) -> Asked:
    """Read a request's head, up to and without the empty line. Raises ``Refused``."""
    line, *headers = head.split(b"\r\n")
    words = line.decode("latin-1").split(" ")
    if len(words) != 3 or words[2] not in ("HTTP/1.0", "HTTP/1.1"):
        raise Refused(400, "this is a proxy for SPICE clients: ask by HTTP's CONNECT")
    verb, target, _ = words
    if verb != "CONNECT":
        raise Refused(405, "this proxy knows CONNECT alone")
    name, _, port = target.rpartition(":")
    if not name.lower().startswith(f"{PREFIX}:") or port != str(TLS_PORT):
        raise Refused(403, "this proxy leads to guests of this cluster alone")
    return Asked(name, any(header.partition(b":")[0].strip().lower() == FORWARDED for header in headers))


def request(ticket: str, node: str) -> bytes:
    """The request as ``node`` hands it on."""
    target = f"{ticket}:{TLS_PORT}"
    return f"CONNECT {target} HTTP/1.0\r\nHost: {target}\r\nKvorum-Forwarded: {node}\r\n\r\n".encode()


def granted() -> bytes:
    """The answer after which the channel begins."""
    return b"HTTP/1.0 200 Connection established\r\n\r\n"


def refusal(refused: Refused) -> bytes:
    """The answer to a request that is not granted: clients show its first line, people read its body."""
    body = f"{refused}\n".encode()
    head = (
        f"HTTP/1.0 {refused.status} {_REASONS[refused.status]}\r\nContent-Type: text/plain; charset=utf-8\r\n"
    )
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def status_of(head: bytes) -> int:
    """The status that another proxy answered; 502 for what is no answer."""
    words = head.split(b"\r\n")[0].split(b" ")
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        return 502
    return int(words[1])


def sentence_of(body: bytes) -> str:
    """The sentence below a refusal's head, in one line; empty where there is none."""
    text = " ".join(body.decode(errors="replace").split())
    return "".join(c for c in text if c.isprintable())[:MAX_SENTENCE]
