"""A node's answer about KVM holds for the lab's later boots, until the host boots again."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvorum.guests.machine import accelerator
from kvorum.lab import kvm


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KVORUM_LAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


async def node(root: Path, answer: accelerator.Accelerator, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a node that has found this, as its daemon keeps it."""

    async def probe(binary: str) -> accelerator.Accelerator:
        return answer

    monkeypatch.setattr(accelerator, "probe", probe)
    await accelerator.find("sh", root / "run/kvorum/accelerator.json")
    return root


HANGS = accelerator.Accelerator("tcg", "KVM did not bring a guest into 64-bit mode within 3 s")


def test_while_nobody_has_found_it_out_machines_get_the_device(place: Path, tmp_path: Path) -> None:
    assert kvm.runs_guests()
    kvm.note(tmp_path)
    assert kvm.runs_guests() and not place.exists()


async def test_what_a_node_found_holds_until_the_host_boots_again(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kvm.note(await node(tmp_path / "n1", HANGS, monkeypatch))
    assert not kvm.runs_guests()
    monkeypatch.setattr(kvm, "this_boot", lambda: "another boot")
    assert kvm.runs_guests()
    kvm.note(tmp_path / "n1")
    assert not kvm.runs_guests()
    assert [path.name for path in place.iterdir()] == ["accelerator.json"], "no draft stays"


async def test_where_kvm_runs_guests_machines_keep_the_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kvm.note(await node(tmp_path / "n1", accelerator.Accelerator("kvm"), monkeypatch))
    assert kvm.runs_guests()


def test_an_answer_that_can_not_be_read_is_none(place: Path) -> None:
    place.mkdir()
    (place / "accelerator.json").write_text("{")
    assert kvm.runs_guests()
