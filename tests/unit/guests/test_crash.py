"""A crash is one line that says how QEMU ended and what it said last."""

from __future__ import annotations

import pytest

from kvorum.guests.machine.crash import OUTPUT_CHARACTERS, sentence


@pytest.mark.parametrize(
    ("status", "output", "said"),
    [
        (None, "", "VM 100: QEMU (pid 7) died; it said nothing"),
        (-9, "",
         "VM 100: QEMU (pid 7) died by SIGKILL, as by the kernel when memory is short; it said nothing"),
        (-6, "a\n\n b: assertion failed\n",
         "VM 100: QEMU (pid 7) died by SIGABRT; its last output: a / b: assertion failed"),
        (1, "no", "VM 100: QEMU (pid 7) died with exit status 1; its last output: no"),
        (-99, "no", "VM 100: QEMU (pid 7) died by signal 99; its last output: no"),
    ],
)  # fmt: skip
def test_the_line_says_how_it_ended(status: int | None, output: str, said: str) -> None:
    assert sentence(100, 7, status, output) == said


def test_the_last_of_a_long_output_is_shown() -> None:
    line = sentence(100, 7, -6, "x" * 4000 + "\nthe reason")
    assert line.endswith("the reason") and len(line) < OUTPUT_CHARACTERS + 100
