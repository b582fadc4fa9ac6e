"""Renew the generated parts of docs/reference/command_line.md: python tools/command_line.py

A part lies between `<!-- command: NAME -->` and `<!-- end -->`, and is made from the function of the command: its
docstring, its arguments and its options. Text and examples outside the parts are written by hand. `typer utils docs`
makes a similar page, without room for examples, and repeats the common options for each command.
"""

import inspect
import re
import typing
from collections.abc import Iterator
from pathlib import Path

from typer.models import ArgumentInfo, OptionInfo

from pushforward.cli.app import app

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "command_line.md"
COMMON = "common"  # the part with the options of every command
_PART = re.compile(r"<!-- command: (\w+) -->\n.*?<!-- end -->", re.DOTALL)
_OPTION = re.compile(r"(?<![\w`])--[a-z][a-z-]*|\b[A-Z]+=[A-Z]+\b")  # to be shown as code
_VALUES = {int: "INTEGER", float: "NUMBER", str: "TEXT", Path: "PATH"}


class Parameter(typing.NamedTuple):
    """An argument or option of a command."""

    name: str
    value: str  # "" for a flag
    default: str
    help: str
    is_argument: bool

    def row(self) -> str:
        name = self.name if self.is_argument else ", ".join(f"`{part}`" for part in self.name.split(", "))
        value = f" {self.value}" if self.value else ""
        return f"| {name}{value} | {self.default} | {self.help} |"


def commands() -> dict[str, typing.Callable[..., object]]:
    """The functions of the commands by name."""
    registered = ((info.name or info.callback.__name__, info.callback) for info in app.registered_commands)
    return dict(registered)


def parameters(command: typing.Callable[..., object]) -> Iterator[Parameter]:
    """The arguments and options of a command, from its signature."""
    for name, parameter in inspect.signature(command).parameters.items():
        kind, *metadata = typing.get_args(parameter.annotation)
        info = next(part for part in metadata if isinstance(part, ArgumentInfo | OptionInfo))
        types = [part for part in typing.get_args(kind) if part is not type(None)] or [kind]
        repeats = typing.get_origin(types[0]) is list
        one = typing.get_args(types[0])[0] if repeats else types[0]
        is_flag, is_argument = one is bool, isinstance(info, ArgumentInfo)
        default = parameter.default
        if isinstance(info.show_default, str):
            shown = info.show_default
        elif is_argument and default is inspect.Parameter.empty:
            shown = "required"
        else:
            shown = "" if is_flag or default is None else f"`{default}`"
        declared = [part for part in (info.default, *(info.param_decls or ())) if isinstance(part, str)]
        options = ", ".join(declared or [f"--{name.replace('_', '-')}"])
        value = "" if is_flag or is_argument else _VALUES[one] + (" ..." if repeats else "")
        yield Parameter(f"`{name.upper()}`" if is_argument else options, value, shown, _help(info), is_argument)


def _help(info: ArgumentInfo | OptionInfo) -> str:
    low, high = info.min, info.max
    bounds = "" if low is None and high is None else f"At least {low}." if high is None else f"From {low} to {high}."
    return _OPTION.sub(r"`\g<0>`", f"{info.help} {bounds}".strip().replace("|", "\\|"))


def _table(rows: list[Parameter]) -> str:
    return "\n".join(("| option | default | meaning |", "|---|---|---|", *(row.row() for row in rows)))


def part(name: str) -> str:
    """The generated Markdown of a command, or of the common options."""
    known = {command: list(parameters(function)) for command, function in commands().items()}
    first, *others = known.values()
    common = [parameter for parameter in first if all(parameter in other for other in others)]
    if name == COMMON:
        return _table(common)
    function, own = commands()[name], [parameter for parameter in known[name] if parameter not in common]
    arguments = [p.name.strip("`") if p.default else f"[{p.name.strip('`')}]" for p in own if p.is_argument]
    usage = " ".join(("pushforward", name, *arguments, "[OPTIONS]"))
    about = _OPTION.sub(r"`\g<0>`", inspect.cleandoc(function.__doc__ or ""))
    return f"{about}\n\n```text\n{usage}\n```" + (f"\n\n{_table(own)}" if own else "")


def renewed(text: str) -> str:
    """The page with its generated parts made anew.

    Raises:
        ValueError: if a command has no part.
    """
    missing = {COMMON, *commands()} - set(_PART.findall(text))
    if missing:
        names = ", ".join(sorted(missing))
        raise ValueError(f"{PAGE}: expected parts for {names}: <!-- command: NAME --> <!-- end -->.")
    return _PART.sub(lambda match: f"<!-- command: {match[1]} -->\n\n{part(match[1])}\n\n<!-- end -->", text)


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
