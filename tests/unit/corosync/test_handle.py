"""The bindings without corosync: the generated declarations, missing libraries, errors."""

from pathlib import Path

import pytest

from kvorum.corosync import CorosyncBusy, CorosyncError, CorosyncGone, CorosyncMissing
from kvorum.corosync.errors import NAMES, error_of
from kvorum.corosync.handle import Handle, open_patiently
from kvorum.corosync.native import generate, library


def test_the_generated_module_matches_the_declarations(tmp_path: Path) -> None:
    generate.generate(tmp_path / "_abi.py")
    assert (tmp_path / "_abi.py").read_text() == generate.TARGET.read_text(), "run native.generate"


def test_missing_libraries_say_which_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(library._LIBRARIES, "nowhere", ("libnowhere.so.9", "libnowhere9"))
    with pytest.raises(CorosyncMissing, match="apt install libnowhere9"):
        library.library("nowhere")


@pytest.mark.parametrize("code", sorted(NAMES))
def test_every_error_carries_corosyncs_name(code: int) -> None:
    error = error_of("cpg_join", code)
    assert isinstance(error, CorosyncError)
    assert NAMES[code] in str(error)
    assert error.name == NAMES[code]


def test_a_closed_handle_says_so() -> None:
    handle = Handle()
    handle._service, handle._prefix = "cpg", "cpg"  # type: ignore[misc]
    handle.close()
    with pytest.raises(CorosyncGone, match="is closed"):
        handle._call("cpg_join")


async def test_opening_waits_until_corosync_is_there() -> None:
    answers: list[Exception | Handle] = [error_of("x", 2), error_of("x", 6), Handle()]
    waits: list[float] = []

    def attempt() -> Handle:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def wait(seconds: float) -> None:
        waits.append(seconds)

    assert isinstance(await open_patiently(attempt, timeout=5, wait=wait), Handle)
    assert len(waits) == 2


async def test_opening_gives_up_at_its_deadline() -> None:
    def attempt() -> Handle:
        raise error_of("cpg_model_initialize", 6)

    with pytest.raises(CorosyncBusy):
        await open_patiently(attempt, timeout=0)
