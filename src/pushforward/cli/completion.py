"""Completion in a shell: names of flows and model files. It runs at each tab, so it does not import JAX."""

import ast
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any


def flow_names(incomplete: str) -> list[str]:
    """The names of flows that start with `incomplete`.

    >>> flow_names("ns")
    ['nsf', 'nsf_ar']
    """
    text = (Path(__file__).parents[1] / "recipes" / "__init__.py").read_text(encoding="utf-8")
    (names,) = re.findall(r"^__all__ = (\[.*?\])", text, re.DOTALL | re.MULTILINE)
    return [name for name in ast.literal_eval(names) if name.startswith(incomplete)]


def model_files(incomplete: str) -> list[str]:
    """The model files of one folder that start with `incomplete`; if there are none, the shell offers any file."""
    folder, slash, start = incomplete.rpartition("/")
    try:
        files = sorted(path.name for path in Path(folder + slash).glob("*.safetensors"))
    except OSError:
        return []
    return [folder + slash + name for name in files if name.startswith(start)]


def complete(command: Callable[..., Any], parameter: str, candidates: Callable[[str], list[str]]) -> None:
    """Complete a parameter of a command, if the command has it.

    Args:
        command: a function whose parameters are annotated for Typer.
        parameter: the name of one of them.
        candidates: maps the text typed so far to the possible values.
    """
    annotated = inspect.signature(command).parameters.get(parameter)
    for part in getattr(annotated and annotated.annotation, "__metadata__", ()):
        part.autocompletion = candidates
