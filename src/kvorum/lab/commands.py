"""``kvorum lab``: the commands, thin over ``kvorum.lab.Lab``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec

import click

from kvorum.core.errors import KvorumError
from kvorum.lab import needs, plan
from kvorum.lab.client import Lab

P = ParamSpec("P")


def _telling(command: Callable[P, None]) -> Callable[P, None]:
    """Make errors of the lab the one sentence that the user sees."""

    @wraps(command)
    def told(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (KvorumError, ValueError) as error:
            raise click.ClickException(str(error)) from error

    return told


@click.group()
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the lab here (or in KVORUM_LAB_DIR), not in /run/kvorum-lab and /var/lib/kvorum-lab.",
)
@click.pass_context
def lab(context: click.Context, directory: Path | None) -> None:
    """A real cluster on this machine: Debian nodes under systemd-nspawn, and faults that happen to them."""
    context.obj = Lab(directory)


@lab.command()
@click.option("--nodes", default=3, show_default=True, help="Nodes n1, n2, …")
@click.option(
    "--plain", default=0, show_default=True, help="Debian machines p1, … without Kvorum (for a QDevice)."
)
@click.option(
    "--lossy", is_flag=True, help="Forget at `cut` what nodes did not sync in /var/lib/pve-cluster."
)
@click.option(
    "--deb", default="auto", help="The .deb to install: a path, 'none', or the newest in dist/ (default)."
)
@click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="A Debian root file system to boot from, instead of the cached one.",
)
@click.option(
    "--page-port", default=8006, show_default=True, help="The page's port on 127.0.0.1; 0 for none."
)
@click.pass_obj
@_telling
def up(it: Lab, nodes: int, plain: int, lossy: bool, deb: str, root: Path | None, page_port: int) -> None:
    """Build and boot a lab; everything in it is new."""
    wanted = plan.Plan(nodes, plain, lossy)
    if lacking := needs.missing(needs.look()):
        raise click.ClickException(lacking)
    if it.is_up():
        raise click.ClickException(
            "The lab is already up: look at it by `kvorum lab status`, or `kvorum lab down`."
        )
    roots = {"node": root, "plain": root} if root else cached_roots(wanted, find_deb(deb))
    it.up(wanted, roots, page_port or None)
    _print_status(it.status())


def find_deb(choice: str) -> Path | None:
    """The .deb that ``--deb`` means: none, a path, or (auto) the newest of dist/, if there is one."""
    if choice == "none":
        return None
    if choice == "auto":
        built = sorted(Path("dist").glob("kvorum_*.deb"), key=lambda path: path.stat().st_mtime)
        return built[-1] if built else None
    path = Path(choice)
    if not path.is_file():
        raise ValueError(f"there is no package '{path}': build it by `make deb`, or use --deb none")
    return path


def cached_roots(wanted: plan.Plan, deb: Path | None) -> dict[str, Path]:
    """The root file systems that ``wanted`` needs, built where the cache lacks them."""
    from kvorum.lab.rootfs import cached_root

    roots = {}
    if wanted.nodes:
        roots["node"] = cached_root("node", plan.PACKAGES, deb, offered=plan.OFFERED)
    if wanted.plain:
        roots["plain"] = cached_root("plain", plan.PLAIN_PACKAGES, offered=plan.PLAIN_OFFERED)
    return roots


@lab.command()
@click.pass_obj
@_telling
def down(it: Lab) -> None:
    """Take the lab and its machines' disks away, whatever state they are in."""
    click.echo("The lab is down." if it.down() else "There is no lab.")


@lab.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
@_telling
def status(it: Lab, as_json: bool) -> None:
    """Show the machines, the faults in force, the page and root's password."""
    told = it.status()
    if as_json:
        click.echo(json.dumps(told, indent=2))
    else:
        _print_status(told)


def _print_status(told: dict[str, object]) -> None:
    machines = told["machines"]
    faults = told["faults"]
    assert isinstance(machines, list) and isinstance(faults, list)
    for machine in machines:
        kind = "plain" if machine["plain"] else "node"
        click.echo(f"{machine['name']:<5} {kind:<6} {machine['state']:<8} {'  '.join(machine['addresses'])}")
    for fault in faults:
        click.echo(f"fault: {fault}")
    if told["page"]:
        click.echo(f"page:  {told['page']}  (root, realm pam)")
    click.echo(f"root's password: {told['password']}")


@lab.command("exec", context_settings={"ignore_unknown_options": True})
@click.argument("machine")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_obj
@_telling
def exec_(it: Lab, machine: str, command: tuple[str, ...]) -> None:
    """Run COMMAND in MACHINE; `switch` is this host's file system in the lab's network."""
    sys.exit(_wait(it.popen(machine, command)))


@lab.command()
@click.argument("machine")
@click.pass_obj
@_telling
def shell(it: Lab, machine: str) -> None:
    """Open a root shell in MACHINE."""
    sys.exit(_wait(it.popen(machine, ["/bin/bash", "-l"])))


def _wait(process: subprocess.Popen[bytes]) -> int:
    while True:
        try:
            code = process.wait()
        except KeyboardInterrupt:  # the terminal sent it to the command too, whose answer counts
            continue
        return code if code >= 0 else 128 - code


@lab.command(context_settings={"ignore_unknown_options": True})
@click.argument("machine")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
@_telling
def log(it: Lab, machine: str, arguments: tuple[str, ...]) -> None:
    """Show MACHINE's journal, also when it is off; ARGUMENTS are journalctl's (such as -u pvedaemon -f)."""
    argv = [*it.journal_argv(machine), *arguments]
    sys.stdout.flush()
    os.execvp(argv[0], argv)  # noqa: S606 (an argument list, no shell)


@lab.command()
@click.argument("machine")
@click.pass_obj
@_telling
def cut(it: Lab, machine: str) -> None:
    """Take MACHINE's power away, without warning."""
    it.cut(machine)


@lab.command()
@click.argument("machine")
@click.pass_obj
@_telling
def power(it: Lab, machine: str) -> None:
    """Switch MACHINE on again, with the disks it had."""
    it.power(machine)


@lab.command()
@click.argument("machine")
@click.pass_obj
@_telling
def freeze(it: Lab, machine: str) -> None:
    """Stop all processes of MACHINE where they are."""
    it.freeze(machine)


@lab.command()
@click.argument("machine")
@click.pass_obj
@_telling
def thaw(it: Lab, machine: str) -> None:
    """Let a frozen MACHINE go on."""
    it.thaw(machine)


@lab.command()
@click.argument("sides")
@click.option("--link", type=click.IntRange(0, 1), help="Only this link of Corosync's.")
@click.pass_obj
@_telling
def partition(it: Lab, sides: str, link: int | None) -> None:
    """Cut the network: 'n1,n2|n3' between sides, 'n1>n3' one way only. Partitions add up until `heal`."""
    it.partition(sides, link)


@lab.command()
@click.argument("percent", type=float)
@click.option("--link", type=click.IntRange(0, 1), help="Only on this link of Corosync's.")
@click.pass_obj
@_telling
def loss(it: Lab, percent: float, link: int | None) -> None:
    """Lose PERCENT of all frames between machines."""
    it.loss(percent, link)


@lab.command()
@click.pass_obj
@_telling
def heal(it: Lab) -> None:
    """End all partitions and losses."""
    it.heal()


@lab.command(context_settings={"ignore_unknown_options": True})
@click.argument("machine")
@click.argument("seconds", type=float)
@click.pass_obj
@_telling
def clock(it: Lab, machine: str, seconds: float) -> None:
    """Shift the clock that MACHINE's Kvorum daemons see by SECONDS (0: right again).

    By libfaketime in the units pve-cluster, pvedaemon, pveproxy, pve-ha-crm and pve-ha-lrm, which are
    restarted. All else in the machine keeps the host's clock, for the kernel has only one.
    """
    it.clock(machine, seconds)


_PASSED_ON = {"ignore_unknown_options": True, "help_option_names": []}


@lab.command(context_settings=_PASSED_ON, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def image(arguments: tuple[str, ...]) -> None:
    """Make the test guest's disk image and print its path."""
    from kvorum.lab.image import main

    sys.exit(main(arguments))


@lab.command(context_settings=_PASSED_ON, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def demo(it: Lab, arguments: tuple[str, ...]) -> None:
    """Migrate a guest round the running lab and show that nothing is lost."""
    from kvorum.lab.demo import main

    sys.exit(main(arguments, it))
