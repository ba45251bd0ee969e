"""The help texts, made from the table. Pure."""

from __future__ import annotations

from kvorum.cli.table import Entry, Parameter, Table


def synopsis(entry: Entry) -> str:
    """One line: ``qm start <vmid> [OPTIONS]``, as users know it."""
    words = [f"{entry.program} {entry.name}"]
    for argument in entry.arguments:
        name = argument.removesuffix("...")
        parameter = entry.method.parameter(name)
        shown = f"<{name}>" + ("..." if argument.endswith("...") else "")
        words.append(shown if parameter is None or parameter.required else f"[{shown}]")
    options = [p for p in _options(entry) if not p.required]
    words += [f"--{p.name} {_kind(p)}" for p in _options(entry) if p.required and not p.ask]
    return " ".join(words + (["[OPTIONS]"] if options else []))


def command_help(entry: Entry) -> str:
    """The help of one command: its line, what it does, its arguments and options."""
    lines = [f"USAGE: {synopsis(entry)}", ""]
    if entry.method.summary:
        lines += [f"  {line}".rstrip() for line in entry.method.summary.splitlines()] + [""]
    for argument in entry.arguments:
        if parameter := entry.method.parameter(argument.removesuffix("...")):
            lines += _describe(f"<{parameter.name}>", parameter)
    for parameter in _options(entry):
        lines += _describe(f"--{parameter.name}", parameter)
    return "\n".join(lines).rstrip() + "\n"


def program_help(table: Table, program: str, prefix: str = "", *, verbose: bool = False) -> str:
    """The commands of a program that begin with ``prefix``; ``verbose`` adds what they do."""
    entries = [table.entry(program, name) for name in table.names(program) if f"{name} ".startswith(prefix)]
    lines = [f"USAGE: {program} <COMMAND> [ARGS] [OPTIONS]", ""]
    for entry in entries:
        lines.append(f"       {synopsis(entry)}")
        if verbose and entry.method.summary:
            lines.append(f"           {entry.method.summary.splitlines()[0]}")
    lines += ["", f"       {program} help [COMMAND] [--verbose]"]
    return "\n".join(lines) + "\n"


def _options(entry: Entry) -> list[Parameter]:
    """The parameters that are given by name."""
    positional = {argument.removesuffix("...") for argument in entry.arguments}
    hidden = positional | set(entry.fixed) | ({"node"} if "{node}" in entry.method.path else set())
    return [p for name, p in sorted(entry.method.parameters.items()) if name not in hidden]


def _kind(parameter: Parameter) -> str:
    if parameter.enum:
        return f"<{' | '.join(parameter.enum)}>"
    return "<1|0>" if parameter.type == "boolean" else f"<{parameter.type}>"


def _describe(shown: str, parameter: Parameter) -> list[str]:
    """A parameter's name, kind and default on one line, what it means below."""
    default = f"   (default={parameter.default})" if parameter.default not in (None, "", []) else ""
    lines = [f"  {shown:<12} {_kind(parameter)}{default}"]
    if parameter.description:
        lines += [f"             {line}" for line in parameter.description.splitlines()]
    return [*lines, ""]
