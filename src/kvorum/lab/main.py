"""The host's ``kvorum`` command: the lab, and ``serve``, which is loaded only when called."""

from __future__ import annotations

import importlib
import sys

import click

from kvorum.lab.commands import lab


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Kvorum: a virtualization cluster of Debian servers."""


@main.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def serve(arguments: tuple[str, ...]) -> None:
    """Run one node in the foreground, without a cluster and without root."""
    module = importlib.import_module("kvorum.server.serve")
    sys.argv = ["kvorum serve", *arguments]
    module.main()


main.add_command(lab)
