"""/etc/network/interfaces is changed without losing anything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvorum.node.interfaces import Interfaces, InterfacesError

TEXT = """\
# Made by hand in 2019; ask Anna before you change eno2.
source /etc/network/interfaces.d/*

auto lo
iface lo inet loopback

auto eno1 vmbr0
iface eno1 inet manual
#uplink, port 7

iface vmbr0 inet static
        address 198.51.100.5/25
        gateway 198.51.100.1
        bridge_ports eno1 \\
            eno2
        post-up ip route add 192.0.2.0/24 via 198.51.100.9
        post-up echo second
        bridge-stp off
# the one bridge

iface vmbr0 inet6 static
        address 2001:db8::5/64
"""


def test_a_file_comes_out_as_it_went_in() -> None:
    assert Interfaces.parse(TEXT).render() == TEXT


@given(st.text(alphabet="iface autoloinet \n\t\\#0", max_size=200))
def test_any_text_comes_out_as_it_went_in(text: str) -> None:
    assert Interfaces.parse(text).render() == text


def test_an_interface_is_read_with_its_options_and_comments() -> None:
    file = Interfaces.parse(TEXT)
    assert file.names() == ("lo", "eno1", "vmbr0")
    assert file.automatic("eno1") and file.automatic("vmbr0") and not file.automatic("eno2")
    assert file.sources() == ("/etc/network/interfaces.d/*",)
    four, six = file.stanzas("vmbr0")
    assert (four.family, four.method, six.family) == ("inet", "static", "inet6")
    assert dict(four.options)["bridge_ports"].split() == ["eno1", "eno2"]
    assert four.comments == " the one bridge\n"
    assert file.stanzas("eno1")[0].comments == "uplink, port 7\n"


def test_an_edit_changes_its_own_lines_and_keeps_the_spelling() -> None:
    settings = {"bridge-ports": "eno1", "mtu": "9000"}
    changed = Interfaces.parse(TEXT).with_stanza("vmbr0", "inet", "static", settings, ["gateway"])
    expected = TEXT.replace("        gateway 198.51.100.1\n", "")
    expected = expected.replace("        bridge_ports eno1 \\\n            eno2\n", "\tbridge_ports eno1\n")
    expected = expected.replace("# the one bridge\n", "# the one bridge\n\tmtu 9000\n")
    assert changed.render() == expected


def test_an_option_that_may_come_often_is_kept_as_often() -> None:
    changed = Interfaces.parse(TEXT).with_stanza("vmbr0", "inet", "static", {"mtu": "1500"})
    assert [value for key, value in changed.stanzas("vmbr0")[0].options if key == "post-up"] == [
        "ip route add 192.0.2.0/24 via 198.51.100.9",
        "echo second",
    ]


def test_a_new_interface_comes_last_and_at_boot_where_that_is_asked() -> None:
    file = Interfaces.parse(TEXT).with_stanza(
        "vmbr1", "inet", "manual", {"bridge-ports": "none"}, comments="lab\n"
    )
    new = "\nauto vmbr1\niface vmbr1 inet manual\n\tbridge-ports none\n#lab\n"
    assert file.with_automatic("vmbr1", True).render() == TEXT + new


def test_a_removed_interface_leaves_the_others_at_boot() -> None:
    file = Interfaces.parse(TEXT).without("vmbr0")
    assert file.names() == ("lo", "eno1")
    assert "auto eno1\n" in file.render() and "vmbr0" not in file.render()
    with pytest.raises(InterfacesError, match="'vmbr9' is not configured"):
        file.without("vmbr9")


def test_comments_are_replaced_where_they_are_given() -> None:
    changed = Interfaces.parse(TEXT).with_stanza("eno1", "inet", "manual", {}, comments="port 8\n")
    assert changed.stanzas("eno1")[0].comments == "port 8\n"
    assert changed.render() == TEXT.replace("#uplink, port 7", "#port 8")


def test_a_file_that_was_empty_gets_its_first_interface() -> None:
    made = Interfaces.parse("").with_stanza("vmbr0", "inet", "dhcp", {}).with_automatic("vmbr0", True)
    assert made.render() == "auto vmbr0\niface vmbr0 inet dhcp\n"
