from pathlib import Path

import pytest

from kvorum.lab import plan


def test_every_machine_has_its_own_name_and_addresses():
    machines = plan.Plan(nodes=32, plain=8).machines
    assert len({m.name for m in machines}) == 40
    assert len({m.address(0) for m in machines}) == 40
    assert plan.LAB_HOST not in {m.number for m in machines}


@pytest.mark.parametrize(("nodes", "plain"), [(0, 0), (33, 0), (-1, 1), (1, 9)])
def test_an_impossible_lab_is_refused(nodes, plain):
    with pytest.raises(ValueError, match="machine"):
        plan.Plan(nodes, plain)


def test_a_lab_of_plain_machines_only_is_possible():
    assert [m.name for m in plan.Plan(0, 1).machines] == ["p1"]


def test_hosts_names_every_machine_on_link_0():
    text = plan.hosts(plan.Plan(2, 1).machines)
    assert "198.18.10.2 n2.lab n2\n" in text
    assert "198.18.10.201 p1.lab p1\n" in text


def test_no_machine_may_set_the_clock():
    for machine in plan.Plan(1, 1).machines:
        argv = plan.nspawn_argv(machine, plan.Places(), lossy=True, devices=())
        assert "--drop-capability=CAP_SYS_TIME" in argv
        assert argv.index("--capability=all") < argv.index("--drop-capability=CAP_SYS_TIME")


def test_only_nodes_have_storage_and_devices():
    node, plain = plan.Plan(1, 1).machines
    argv = plan.nspawn_argv(node, plan.Places(), lossy=False, devices=("/dev/fuse",))
    assert "--bind=/dev/fuse" in argv
    assert "--bind=/var/lib/kvorum-lab/shared:/mnt/shared" in argv
    assert not [a for a in argv if "pve-cluster" in a]
    assert not [
        a for a in plan.nspawn_argv(plain, plan.Places(), lossy=True, devices=("/dev/fuse",)) if "bind" in a
    ]


def test_lossy_puts_the_store_on_the_lossy_disk():
    (node,) = plan.Plan(1).machines
    argv = plan.nspawn_argv(node, plan.Places(), lossy=True, devices=())
    assert "--bind=/var/lib/kvorum-lab/n1/lossy:/var/lib/pve-cluster" in argv


def test_a_nodes_bridge_holds_the_guest_port_and_a_plain_machine_has_none():
    node, plain = plan.Plan(1, 1).machines
    assert "link set eth2 master vmbr0 up" in plan.interfaces_setup(node)
    assert not any("vmbr0" in line for line in plan.interfaces_setup(plain))
    assert len([line for line in plan.plug_in(plain) if "veth" in line]) == 2


def test_interface_names_fit_the_kernels_15_characters():
    assert all(len(m.port(n)) <= 15 for m in plan.Plan(32, 8).machines for n in m.networks)


def test_labs_in_different_places_have_different_control_groups():
    groups = {plan.Places().cgroup} | {plan.Places.under(Path(p)).cgroup for p in ("/a", "/b")}
    assert len(groups) == 3


def test_roots_password_replaces_only_roots():
    shadow = "root:*:20000:0:99999:7:::\ndaemon:*:20000:0:99999:7:::\n"
    assert plan.with_root_password(shadow, "$6$x") == (
        "root:$6$x:20000:0:99999:7:::\ndaemon:*:20000:0:99999:7:::\n"
    )


def test_a_shadow_without_root_is_refused():
    with pytest.raises(ValueError, match="root is missing"):
        plan.with_root_password("daemon:*:1\n", "x")


def test_the_clock_drop_in_shifts_wall_time_both_ways_and_leaves_monotonic_time():
    assert "FAKETIME=+90\n" in plan.clock_drop_in(90)
    assert "FAKETIME=-1.5\n" in plan.clock_drop_in(-1.5)
    assert "FAKETIME_DONT_FAKE_MONOTONIC=1" in plan.clock_drop_in(1)


def test_a_machine_keeps_its_ethernet_addresses_and_shares_none():
    machines = plan.Plan(32, 8).machines
    macs = [m.mac(n) for m in machines for n in m.networks]
    assert len(set(macs)) == len(macs)
    assert machines[0].mac(0) in "".join(plan.plug_in(machines[0]))
    switches = [line.split()[4] for line in plan.switch_setup() if line.startswith("link add")]
    assert len(set(switches) | set(macs)) == len(switches) + len(macs)
