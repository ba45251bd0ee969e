"""The lab's own promises, on real machines: what a node is, what exec does, what cut, freeze and power do."""

import stat
import subprocess
import time

import pytest

from kvorum.lab import LabError

CAP_SYS_TIME = 25


def test_exec_passes_input_output_and_exit_status(lab):
    done = lab.exec("n1", ["sh", "-c", "cat; echo wrong >&2; exit 7"], input="through")
    assert (done.stdout, done.stderr, done.returncode) == ("through", "wrong\n", 7)


def test_a_command_that_its_machine_stops_and_continues_ends(lab):
    """As a machine that goes down does to all its processes; who waits for one must not stay stopped."""
    stopped = lab.popen("n1", ["sh", "-c", "echo $$; kill -STOP $$; exit 5"], stdout=subprocess.PIPE)
    try:
        pid = int(stopped.stdout.readline())
        go_on = f"until grep -q '^State:.T' /proc/{pid}/status; do sleep 0.02; done; kill -CONT {pid}"
        lab.exec("n1", ["timeout", "10", "sh", "-c", go_on], check=True)
        assert stopped.wait(10) == 5
    finally:
        stopped.kill()
        stopped.wait()
        stopped.stdout.close()


def test_a_command_that_is_not_there_ends_like_a_shells(lab):
    done = lab.exec("n1", ["no-such-command"])
    assert done.returncode == 127
    assert "no-such-command" in done.stderr


def test_ending_what_entered_a_machine_ends_the_command(lab):
    for end in (subprocess.Popen.terminate, subprocess.Popen.kill):
        running = lab.popen("n1", ["sh", "-c", "echo $$; exec sleep 300"], stdout=subprocess.PIPE)
        pid = int(running.stdout.readline())
        end(running)
        running.wait(10)
        running.stdout.close()
        gone = f"while kill -0 {pid}; do sleep 0.02; done"
        lab.exec("n1", ["timeout", "10", "sh", "-c", gone], check=True)


def test_each_node_is_a_debian_13_of_its_own(lab):
    seen = set()
    for node in ("n1", "n2", "n3"):
        assert lab.exec(node, ["hostname"]).stdout == f"{node}\n"
        assert 'VERSION_ID="13"' in lab.exec(node, ["cat", "/etc/os-release"]).stdout
        assert lab.exec(node, ["systemctl", "is-system-running", "--wait"]).stdout == "running\n"
        seen.add(lab.exec(node, ["cat", "/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key.pub"]).stdout)
    assert len(seen) == 3


def test_nothing_in_a_node_may_set_the_clock_also_not_what_comes_by_exec(lab):
    """Read from the capability sets; trying it would set the host's clock if this were broken."""
    for process in ("1", "self"):
        text = lab.exec("n1", ["cat", f"/proc/{process}/status"]).stdout
        for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb", "CapInh"):
            (line,) = (line for line in text.splitlines() if line.startswith(name))
            assert not int(line.split()[1], 16) >> CAP_SYS_TIME & 1, f"{name} of {process}"


def _destroy(lab, node, dataset):
    """Destroy a mounted ZFS file system, which zfs-fuse calls busy for a moment after its own unmount.

    When it lets go has no event (docs/design/lab.md); asking takes as long as waiting would.
    """
    end = time.monotonic() + 20
    while (done := lab.exec(node, ["zfs", "destroy", "-r", dataset])).returncode:
        assert done.stderr == f"cannot destroy '{dataset}': dataset is busy\n"
        assert time.monotonic() < end, f"zfs-fuse did not let go of {dataset} within 20 s"


def test_the_nodes_storages_are_real(lab):
    assert lab.exec("n1", ["zpool", "list", "-H", "-o", "health", "tank"]).stdout == "ONLINE\n"
    lab.exec("n1", ["zfs", "create", "tank/probe"], check=True)
    lab.exec("n1", ["zfs", "snapshot", "tank/probe@a"], check=True)
    _destroy(lab, "n1", "tank/probe")
    lab.exec("n1", ["btrfs", "subvolume", "create", "/mnt/btrfs/probe"], check=True)
    lab.exec("n1", ["btrfs", "subvolume", "delete", "/mnt/btrfs/probe"], check=True)
    lab.exec("n1", ["tee", "/mnt/shared/probe"], input="seen by all", check=True)
    assert lab.exec("n3", ["cat", "/mnt/shared/probe"]).stdout == "seen by all"


def test_a_node_sees_its_own_interfaces_and_no_others(lab):
    seen = lab.exec("n1", ["ls", "/sys/class/net"], check=True).stdout.split()
    assert seen == ["eth0", "eth1", "eth2", "lo", "vmbr0"]


def test_devices_for_guests_are_there(lab):
    for device in ("/dev/fuse", "/dev/net/tun"):
        lab.exec("n1", ["test", "-c", device], check=True)


def test_the_host_reaches_a_nodes_sshd_through_the_lab(lab):
    with lab.socket() as ssh:
        ssh.settimeout(10)
        ssh.connect(("198.18.12.2", 22))
        assert ssh.recv(4) == b"SSH-"


def test_the_password_is_roots_and_only_root_may_read_it(lab):
    assert stat.S_IMODE(lab.places.password.stat().st_mode) == 0o600
    shadow = lab.exec("n1", ["grep", "^root:", "/etc/shadow"]).stdout
    assert shadow.startswith("root:$6$")


def test_a_cut_node_is_off_and_keeps_its_disks(lab):
    lab.exec("n2", ["sh", "-c", "echo kept > /root/kept; echo gone > /run/gone"], check=True)
    before = lab.exec("n2", ["cat", "/proc/sys/kernel/random/boot_id", "/etc/machine-id"]).stdout
    lab.cut("n2")
    assert lab.states()["n2"] == "cut"
    with pytest.raises(LabError, match="kvorum lab power n2"):
        lab.exec("n2", ["true"])
    lab.power("n2")
    assert lab.exec("n2", ["cat", "/root/kept"]).stdout == "kept\n"
    assert lab.exec("n2", ["test", "-e", "/run/gone"]).returncode == 1
    assert lab.exec("n2", ["cat", "/etc/machine-id"]).stdout in before
    assert lab.exec("n2", ["zpool", "list", "-H", "-o", "health", "tank"]).stdout == "ONLINE\n"


def test_a_cut_node_takes_leave_of_nobody(lab):
    with lab.socket() as ssh:
        ssh.settimeout(10)
        ssh.connect(("198.18.12.2", 22))
        assert ssh.recv(4) == b"SSH-"
        ssh.recv(1000)
        lab.cut("n2")
        ssh.settimeout(1)
        with pytest.raises(TimeoutError):
            ssh.recv(1)
    lab.power("n2")


def test_a_frozen_node_stands_still_and_goes_on(lab):
    ticking = lab.popen("n3", ["sh", "-c", "while :; do date +%s%N; sleep 0.02; done"], stdout=-1)
    try:
        ticking.stdout.readline()
        lab.freeze("n3")
        assert lab.states()["n3"] == "frozen"
        frozen_at = time.time_ns()
        with pytest.raises(LabError, match="kvorum lab thaw n3"):
            lab.exec("n3", ["true"])
        probe = lab.exec(
            "n1", ["ping", "-c", "1", "-W", "1", "198.18.10.3"]
        )  # the kernel still answers for it
        assert probe.returncode == 0
        thawed_at = time.time_ns()
        lab.thaw("n3")
        while (tick := int(ticking.stdout.readline())) < thawed_at:
            assert tick < frozen_at, "a process ran while its machine was frozen"
    finally:
        ticking.kill()
        ticking.wait()
        ticking.stdout.close()


def test_a_node_freezes_though_a_process_waits_for_a_file_system_of_its_own(lab):
    """The kernel does not call such a group frozen, and a lab that believed it could not thaw it again."""
    store = ["systemctl", "kill", "--kill-whom=main", "pve-cluster"]
    lab.exec("n3", [*store, "--signal=STOP"], check=True)
    waiting = lab.popen("n3", ["cat", "/etc/pve/.members"], stdout=subprocess.PIPE)
    try:
        reached = "until grep -qs request_wait /proc/$(pgrep -x cat)/wchan; do sleep 0.02; done"
        lab.exec("n3", ["timeout", "20", "sh", "-c", reached], check=True)
        lab.freeze("n3")
        assert lab.states()["n3"] == "frozen"
        lab.thaw("n3")
        lab.exec("n3", [*store, "--signal=CONT"], check=True)
        said, _ = waiting.communicate(timeout=20)
        assert b"n3" in said
    finally:
        waiting.kill()
        waiting.wait()


def test_a_frozen_node_can_be_cut(lab):
    lab.freeze("n3")
    lab.cut("n3")
    assert lab.states()["n3"] == "cut"


def test_an_unknown_machine_is_named(lab):
    with pytest.raises(LabError, match="no machine 'n9'"):
        lab.cut("n9")


def _reaches(lab, source, target):
    return lab.exec(source, ["ping", "-c", "8", "-i", "0.2", "-W", "1", target]).returncode == 0


def test_a_partition_cuts_its_sides_on_all_networks_and_heal_joins_them(lab):
    lab.partition("n1,n2|n3")
    assert _reaches(lab, "n1", "198.18.10.2")
    assert not any(_reaches(lab, "n1", f"198.18.1{network}.3") for network in range(3))
    lab.heal()
    assert all(_reaches(lab, "n1", f"198.18.1{network}.3") for network in range(3))


def test_a_partition_of_one_link_leaves_the_other(lab):
    lab.partition("n1|n3", link=0)
    assert not _reaches(lab, "n1", "198.18.10.3")
    assert _reaches(lab, "n1", "198.18.11.3")


def test_a_partition_one_way_lets_the_other_way_pass(lab):
    lab.exec(
        "n1", ["ip", "neigh", "replace", "198.18.10.3", "lladdr", _mac(lab, "n3"), "dev", "eth0"], check=True
    )
    lab.exec(
        "n3", ["ip", "neigh", "replace", "198.18.10.1", "lladdr", _mac(lab, "n1"), "dev", "eth0"], check=True
    )
    lab.partition("n3>n1", link=0)
    before = _received(lab, "n3")
    assert not _reaches(lab, "n1", "198.18.10.3")
    assert _received(lab, "n3") > before


def _mac(lab, node):
    return lab.exec(node, ["cat", "/sys/class/net/eth0/address"], check=True).stdout.strip()


def _received(lab, node):
    text = lab.exec(node, ["cat", "/proc/net/snmp"]).stdout
    keys, values = (line.split() for line in text.splitlines() if line.startswith("Icmp:"))
    return int(values[keys.index("InEchos")])


def test_a_loss_of_all_frames_loses_all_and_of_none_none(lab):
    lab.loss(100)
    assert not _reaches(lab, "n1", "198.18.11.2")
    lab.loss(0)
    assert _reaches(lab, "n1", "198.18.11.2")


def test_a_shifted_clock_reaches_a_daemon_of_ours_and_no_one_else(lab):
    unit = "[Service]\nExecStart=/bin/sh -c 'date +%%s > /run/seen; exec sleep infinity'\n"
    lab.exec("n1", ["tee", "/run/systemd/system/pve-ha-lrm.service"], input=unit, check=True)
    lab.exec("n1", ["systemctl", "daemon-reload"], check=True)
    lab.exec("n1", ["systemctl", "start", "pve-ha-lrm"], check=True)
    try:
        lab.clock("n1", 5000)
        watched = "until [ $(cat /run/seen) -gt $(($(date +%s) + 4000)) ]; do sleep 0.05; done"
        lab.exec("n1", ["timeout", "10", "sh", "-c", watched], check=True)
        assert abs(int(lab.exec("n1", ["date", "+%s"]).stdout) - time.time()) < 60
    finally:
        lab.clock("n1", 0)
        lab.exec("n1", ["systemctl", "stop", "pve-ha-lrm"])
        lab.exec("n1", ["rm", "/run/systemd/system/pve-ha-lrm.service"])
