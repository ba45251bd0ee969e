import socket
import threading
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvorum.cli.client import Client, quote
from kvorum.cli.failures import CallRefused, DaemonSilent


def raw_answer(path: Path, answer: bytes, verb: str = "GET", asked: list[bytes] | None = None) -> object:
    """What the client makes of these bytes; what it sent comes into ``asked``."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                said = connection.recv(65536)
                while verb != "GET" and not said.endswith(b"geheim"):
                    said += connection.recv(65536)
                if asked is not None:
                    asked.append(said)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            given = {"password": "geheim"} if verb != "GET" else None
            return Client(path, timeout_s=10).call(verb, "/version", given)
        finally:
            thread.join(10)


@pytest.mark.parametrize("verb", ["POST", "PUT", "DELETE"])
def test_what_changes_something_carries_its_parameters_in_the_body_and_not_in_the_address(
    tmp_path: Path, verb: str
) -> None:
    asked: list[bytes] = []
    raw_answer(tmp_path / "s", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", verb, asked)
    head, _, body = asked[0].partition(b"\r\n\r\n")
    assert body == b"password=geheim" and b"geheim" not in head
    assert head.startswith(f"{verb} /api2/json/version HTTP/1.1\r\n".encode())
    assert b"Content-Length: 15" in head


def test_a_get_carries_its_parameters_in_the_url_and_a_post_in_its_body(api) -> None:
    api.answer("GET /x", {"a": 1})
    api.answer("POST /x", None)
    client = Client(api.socket)
    assert client.call("GET", "/x", {"q": "ä &=", "l": ["1", "2"]}) == {"a": 1}
    assert client.call("POST", "/x", {"q": "ü"}) is None
    assert api.asked == [("GET", "/x", [("q", "ä &="), ("l", "1"), ("l", "2")]), ("POST", "/x", [("q", "ü")])]


def test_a_refusal_names_each_wrong_parameter(api) -> None:
    content = {"data": None, "message": "Parameter verification failed.\n", "errors": {"vmid": "no\n"}}
    api.refuse("GET /x", "400 Parameter verification failed.", content)
    with pytest.raises(CallRefused) as caught:
        Client(api.socket).call("GET", "/x")
    assert str(caught.value) == "400 Parameter verification failed.\nvmid: no"


def test_the_reason_phrase_stands_in_for_a_missing_message(api) -> None:
    api.refuse("GET /x", "500 VM is locked (backup)", {})
    with pytest.raises(CallRefused, match=r"^VM is locked \(backup\)$"):
        Client(api.socket).call("GET", "/x")


def test_no_daemon_is_said_with_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(DaemonSilent, match=r"does not answer at .*: systemctl status pvedaemon"):
        Client(tmp_path / "none.sock").call("GET", "/x")


def test_a_chunked_answer_is_joined(tmp_path: Path) -> None:
    answer = (
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7;x=y\r\n{"data"\r\n4\r\n: 7}\r\n0\r\n\r\n'
    )
    assert raw_answer(tmp_path / "s", answer) == 7


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_half_an_answer_is_none(tmp_path: Path, answer: bytes) -> None:
    with pytest.raises(DaemonSilent):
        raw_answer(tmp_path / "s", answer)


@given(st.text())
def test_quoting_can_be_undone(text: str) -> None:
    text = text.encode("utf-8", "ignore").decode()
    assert unquote(quote(text), errors="strict") == text
    assert not set(quote(text)) & set("/&=+?# ")
