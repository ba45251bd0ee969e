"""The names things have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvorum.core.ids import Upid, VolumeId, node_name, storage_name, vmid

words = st.text(st.characters(codec="utf-8", exclude_characters="\x7f", min_codepoint=33), min_size=1)


@pytest.mark.parametrize("name", ["n1", "a", "HP-1", "x" * 63])
def test_node_names_are_dns_labels(name: str) -> None:
    assert node_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", "a-", "a.b", "a_b", "x" * 64, "ä", "a\n", "../a"])
def test_other_node_names_are_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match="is not a node name"):
        node_name(name)


@pytest.mark.parametrize("text", ["99", "0100x", "", "-100", "1000000000", "１００", "100\n", "1e3"])
def test_numbers_outside_the_range_are_no_vm_ids(text: str) -> None:
    with pytest.raises(ValueError, match="is not a VM id"):
        vmid(text)


def test_vm_ids_come_as_text_or_number() -> None:
    assert vmid("100") == vmid(100) == 100


@pytest.mark.parametrize("name", ["local", "a1", "my-zfs.pool_2"])
def test_storage_names(name: str) -> None:
    assert storage_name(name) == name


@pytest.mark.parametrize(
    "text", ["local", "local:", ":x", "local:/etc/shadow", "local:../x", "local:a/../../b", "l:x\0"]
)
def test_volume_ids_never_leave_their_storage(text: str) -> None:
    with pytest.raises(ValueError):
        VolumeId.parse(text)


def test_volume_ids_print_as_parsed() -> None:
    text = "local:100/vm-100-disk-0.qcow2"
    assert str(VolumeId.parse(text)) == text


@given(
    pid=st.integers(0, 2**32 - 1),
    pstart=st.integers(0, 2**64 - 1),
    start=st.integers(0, 2**32 - 1),
    id=st.one_of(st.just(""), words),
    user=words,
)
def test_upids_survive_the_round_trip_with_any_id(
    pid: int, pstart: int, start: int, id: str, user: str
) -> None:
    upid = Upid("n1", pid, pstart, start, "qmstart", id, user)
    text = str(upid)
    assert len(text.split(":")) == 9
    assert "/" not in text
    assert Upid.parse(text) == upid


@pytest.mark.parametrize(
    "text", ["", "UPID:", "UPID:n1:1:2:3:x::root@pam:", "UPID:n1:00000001:00000001:00000001:a:b"]
)
def test_what_is_no_upid_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="unable to parse worker upid"):
        Upid.parse(text)
