"""What a lab consists of: its machines, their addresses, files and command lines. Pure.

Three networks join the machines: links 0 and 1 for Corosync (198.18.10.0/24 and 198.18.11.0/24, from the
range RFC 2544 sets aside for tests) and the guests' network (198.18.12.0/24), a port of each node's vmbr0.
The lab itself holds .254 in each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from kvorum.lab.rootfs import apt_source

LINKS = (0, 1)
"""The networks that carry Corosync's links."""
GUEST_NETWORK = 2
"""The network whose port in each node belongs to vmbr0."""
NETWORKS = (*LINKS, GUEST_NETWORK)
LAB_HOST = 254
"""The lab's own last octet in each network."""
NODES_MAX = 32
PLAIN_MAX = 8
PLAIN_FIRST = 201
DISK_BYTES = 8 << 30
"""Size of each node's btrfs and ZFS disk (sparse files)."""
EXIT_REBOOT = 133
"""systemd-nspawn with --keep-unit exits with this when the machine asked for a reboot (systemd-nspawn(1))."""
CLOCKED_UNITS = (
    "pve-cluster.service",
    "pvedaemon.service",
    "pveproxy.service",
    "pve-ha-crm.service",
    "pve-ha-lrm.service",
)
"""Our daemons: the units whose clock ``kvorum lab clock`` shifts."""
PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "openssh-server",
    "iproute2",
    "iputils-ping",
    "nftables",
    "python3",
    "corosync",
    "qemu-system-x86",
    "qemu-system-modules-spice",
    "qemu-utils",
    "fuse3",
    "btrfs-progs",
    "zfs-fuse",
    "faketime",
    "less",
    "ca-certificates",
    "procps",
    "sqlite3",
)
"""Debian packages of a node beside our own; a plain machine has those of PLAIN_PACKAGES."""
PLAIN_PACKAGES = ("systemd", "systemd-sysv", "dbus", "openssh-server", "iproute2", "iputils-ping", "procps")
OFFERED = ("corosync-qdevice", "ifupdown2")
"""What a node's apt can install, without a network; PLAIN_OFFERED is a plain machine's."""
PLAIN_OFFERED = ("corosync-qnetd",)

_QUIET_UNITS = (
    "console-getty.service",
    "getty.target",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
    "ldconfig.service",
    "systemd-journal-catalog-update.service",
    "systemd-modules-load.service",
    "systemd-networkd-wait-online.service",
)


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine: ``number`` is the last octet of its addresses."""

    name: str
    number: int
    plain: bool = False

    @property
    def networks(self) -> tuple[int, ...]:
        """The networks it has a port in."""
        return LINKS if self.plain else NETWORKS

    def address(self, network: int) -> str:
        """Its IPv4 address in ``network``."""
        return address(network, self.number)

    def mac(self, network: int) -> str:
        """Its Ethernet address in ``network``: the same at every boot, as others' ARP tables expect."""
        return mac(network, self.number)

    def port(self, network: int) -> str:
        """The name of its port at the lab's switch."""
        return f"{self.name}-{network}"


@dataclass(frozen=True, slots=True)
class Plan:
    """A lab: ``nodes`` nodes n1, n2, … and ``plain`` machines p1, … without our package."""

    nodes: int = 3
    plain: int = 0
    lossy: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.nodes <= NODES_MAX or not 0 <= self.plain <= PLAIN_MAX:
            raise ValueError(
                f"a lab of {self.nodes} nodes and {self.plain} plain machines can't be built: "
                f"use 0 to {NODES_MAX} nodes and 0 to {PLAIN_MAX} plain machines"
            )
        if self.nodes + self.plain == 0:
            raise ValueError("a lab needs at least one machine: use --nodes or --plain")

    @property
    def machines(self) -> tuple[Machine, ...]:
        """All machines, the nodes first."""
        nodes = (Machine(f"n{i}", i) for i in range(1, self.nodes + 1))
        plain = (Machine(f"p{i}", PLAIN_FIRST + i - 1, plain=True) for i in range(1, self.plain + 1))
        return (*nodes, *plain)


@dataclass(frozen=True, slots=True)
class Places:
    """Where a lab keeps its state (lost at ``down``) and its machines' disks (lost at ``down`` too)."""

    state: Path = Path("/run/kvorum-lab")
    machines: Path = Path("/var/lib/kvorum-lab")

    @classmethod
    def under(cls, directory: Path) -> Places:
        """Both under one directory, for a second lab beside the first."""
        return cls(directory / "run", directory / "machines")

    @property
    def socket(self) -> Path:
        """Where the lab's warden answers."""
        return self.state / "lab.sock"

    @property
    def record(self) -> Path:
        """What ``down`` needs to know when the warden is dead (JSON)."""
        return self.state / "lab.json"

    @property
    def password(self) -> Path:
        """The machines' root password (mode 0600)."""
        return self.state / "password"

    @property
    def log(self) -> Path:
        """The warden's log."""
        return self.state / "warden.log"

    @property
    def shared(self) -> Path:
        """The directory that all nodes see at /mnt/shared."""
        return self.machines / "shared"

    @property
    def cgroup(self) -> str:
        """The name of the lab's control group, one for each place."""
        if self == Places():
            return "kvorum-lab"
        return f"kvorum-lab-{sha256(str(self.state).encode()).hexdigest()[:8]}"

    def machine(self, name: str) -> MachinePlaces:
        """The places of one machine."""
        return MachinePlaces(self.machines / name)


@dataclass(frozen=True, slots=True)
class MachinePlaces:
    """Where one machine keeps its things; all but ``root`` and ``btrfs`` outlive a power cut."""

    base: Path

    @property
    def root(self) -> Path:
        """The overlay, mounted in the lab's mount namespace only."""
        return self.base / "root"

    @property
    def upper(self) -> Path:
        """What the machine has written over the cached root."""
        return self.base / "upper"

    @property
    def work(self) -> Path:
        """overlayfs' own."""
        return self.base / "work"

    @property
    def vz(self) -> Path:
        """The storage ``local``."""
        return self.base / "vz"

    @property
    def btrfs(self) -> Path:
        """Where the btrfs disk is mounted."""
        return self.base / "btrfs"

    @property
    def disks(self) -> Path:
        """The directory of disk images."""
        return self.base / "disks"

    @property
    def lossy_backing(self) -> Path:
        """What of /var/lib/pve-cluster has reached the disk (``--lossy``)."""
        return self.base / "lossy.disk"

    @property
    def lossy_mount(self) -> Path:
        """/var/lib/pve-cluster as the node sees it (``--lossy``)."""
        return self.base / "lossy"

    @property
    def console(self) -> Path:
        """What systemd-nspawn and the machine's console said."""
        return self.base / "console.log"

    @property
    def journal(self) -> Path:
        """The machine's journal, readable while it is off."""
        return self.upper / "var/log/journal"


def address(network: int, number: int) -> str:
    """The IPv4 address of ``number`` in ``network``."""
    return f"198.18.{10 + network}.{number}"


def mac(network: int, number: int) -> str:
    """The Ethernet address of ``number`` in ``network``."""
    return f"02:4b:56:00:{network:02x}:{number:02x}"


def hosts(machines: tuple[Machine, ...]) -> str:
    """/etc/hosts: every machine by its address on link 0."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
    lines += [f"{m.address(0)} {m.name}.lab {m.name}" for m in machines]
    return "\n".join(lines) + "\n"


def switch_setup() -> list[str]:
    """The switch's three bridges, as lines of ``ip -batch``, in the lab's own network namespace.

    They have addresses of their own: a bridge's would else be another one when a port goes, and what machines
    answer the host meanwhile be lost.
    """
    lines = ["link set lo up"]
    for network in NETWORKS:
        bridge = f"sw{network}"
        lines += [
            f"link add {bridge} address {mac(network, LAB_HOST)} "
            "type bridge forward_delay 0 stp_state 0 mcast_snooping 0",
            f"addr add {address(network, LAB_HOST)}/24 dev {bridge}",
            f"link set {bridge} up",
        ]
    return lines


def plug_in(machine: Machine) -> list[str]:
    """Connect a machine's (new) network namespace to the switch, as lines of ``ip -batch``."""
    lines = []
    for network in machine.networks:
        port = machine.port(network)
        lines += [
            f"link add {port} type veth peer name eth{network} "
            f"address {machine.mac(network)} netns {machine.name}",
            f"link set {port} master sw{network} up",
        ]
    return lines


def interfaces_setup(machine: Machine) -> list[str]:
    """A machine's own interfaces, as lines of ``ip -batch`` inside its network namespace."""
    lines = ["link set lo up"]
    for network in LINKS:
        lines += [f"addr add {machine.address(network)}/24 dev eth{network}", f"link set eth{network} up"]
    if not machine.plain:
        lines += [
            "link add vmbr0 type bridge forward_delay 0 stp_state 0 mcast_snooping 0",
            f"link set eth{GUEST_NETWORK} master vmbr0 up",
            f"addr add {machine.address(GUEST_NETWORK)}/24 dev vmbr0",
            "link set vmbr0 up",
        ]
    return lines


def nspawn_argv(machine: Machine, places: Places, *, lossy: bool, devices: tuple[str, ...]) -> list[str]:
    """The command that boots a machine; ``devices`` are the host's device nodes it may use.

    CAP_SYS_TIME is missing on purpose: the kernel has one clock; a node's ``date -s`` would set the host's.
    """
    own = places.machine(machine.name)
    argv = [
        "nsenter",  # else the machine's /sys/class/net would show the switch's interfaces
        f"--net=/run/netns/{machine.name}",
        "--",
        "systemd-nspawn",
        "--quiet",
        "--register=no",
        "--keep-unit",
        "--notify-ready=yes",
        "--console=pipe",
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
        "--kill-signal=SIGRTMIN+3",
        "--capability=all",
        "--drop-capability=CAP_SYS_TIME",
        f"--machine={machine.name}",
        f"--directory={own.root}",
        f"--network-namespace-path=/run/netns/{machine.name}",
    ]
    if not machine.plain:
        argv += [f"--bind={device}" for device in devices]
        argv += [
            f"--bind={own.vz}:/var/lib/vz",
            f"--bind={own.btrfs}:/mnt/btrfs",
            f"--bind={own.disks}:/var/lib/lab-disks",
            f"--bind={places.shared}:/mnt/shared",
        ]
        if lossy:
            argv.append(f"--bind={own.lossy_mount}:/var/lib/pve-cluster")
    return [*argv, "--boot"]


# A server's corosync runs with real-time priority on processors of its own. Those of several nodes on one
# machine would keep all else from its processors: a write took three times as long.
_COROSYNC_PRIORITY = "[Service]\nCapabilityBoundingSet=~CAP_SYS_NICE\nNice=-15\n"
_ZFS_UNIT = """\
[Unit]
Description=ZFS in user space, and this lab node's pool
After=local-fs.target
Before=pve-cluster.service pvedaemon.service

[Service]
Type=exec
Environment=LC_ALL=C
LimitSTACK=infinity
ExecStart=/usr/sbin/zfs-fuse --no-daemon
ExecStartPost=/usr/local/lib/kvorum-lab/pool
TimeoutSec=60
KillMode=process

[Install]
WantedBy=multi-user.target
"""

_POOL_SCRIPT = """\
#!/bin/sh
# The pool 'tank' of this lab node: imported if its disk has one, made if not.
disks=/var/lib/lab-disks
i=0
until zpool list -H >/dev/null 2>&1; do  # the daemon tells nobody when its socket answers
    i=$((i + 1)); [ $i -lt 100 ] || exit 1; sleep 0.1
done
zpool list -H -o name tank >/dev/null 2>&1 && exec zfs mount -a
zpool import -f -d $disks tank 2>/dev/null && exec zfs mount -a
exec zpool create -m /tank tank $disks/zfs.img
"""


@dataclass(frozen=True, slots=True)
class File:
    """A file to lay into a machine before its first boot."""

    text: str
    mode: int = 0o644


def machine_files(machine: Machine, plan: Plan, password_hash: str, machine_id: str) -> Mapping[str, File]:
    """What makes the cached root this machine, by path; /etc/shadow's first line is the caller's to edit.

    ``password_hash`` is in crypt(3)'s form, ``machine_id`` 32 hex digits (machine-id(5)).
    """
    files = {
        "etc/hostname": File(f"{machine.name}\n"),
        "etc/hosts": File(hosts(plan.machines)),
        "etc/machine-id": File(f"{machine_id}\n", 0o444),
        "etc/apt/sources.list": File(apt_source()),
        "etc/resolv.conf": File("# The lab has no name server; see /etc/hosts.\n"),
        "etc/systemd/journald.conf.d/kvorum-lab.conf": File(
            "[Journal]\nStorage=persistent\nSystemMaxUse=64M\nSyncIntervalSec=2s\n"
        ),
        "etc/systemd/system/corosync.service.d/50-kvorum-lab.conf": File(_COROSYNC_PRIORITY),
        "etc/systemd/system.conf.d/kvorum-lab.conf": File("[Manager]\nDefaultTimeoutStopSec=20s\n"),
    }
    if not machine.plain:
        files["etc/systemd/system/zfs-fuse.service"] = File(_ZFS_UNIT)
        files["usr/local/lib/kvorum-lab/pool"] = File(_POOL_SCRIPT, 0o755)
    return files


def masked_units() -> tuple[str, ...]:
    """Units that have nothing to do in a lab machine and cost its boot time."""
    return _QUIET_UNITS


def with_root_password(shadow: str, password_hash: str) -> str:
    """The text of /etc/shadow with root's password replaced; raises ``ValueError`` when root is not in it."""
    lines = shadow.splitlines()
    for index, line in enumerate(lines):
        if line.startswith("root:"):
            lines[index] = ":".join(["root", password_hash, *line.split(":")[2:]])
            return "\n".join(lines) + "\n"
    raise ValueError("root is missing in etc/shadow of the cached root: remove the cached root and try again")


def clock_drop_in(seconds: float) -> str:
    """The systemd drop-in that shifts a daemon's wall clock by ``seconds``; monotonic time stays."""
    return (
        "[Service]\n"
        "Environment=LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1\n"
        f"Environment=FAKETIME={seconds:+g}\n"
        "Environment=FAKETIME_DONT_FAKE_MONOTONIC=1\n"
        "Environment=FAKETIME_DONT_RESET=1\n"
    )
