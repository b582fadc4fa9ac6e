"""pushforward: normalizing flows in JAX, for tables of numbers and for research.

This module has the functions and recipes; layers are in `pushforward.bijections`, `pushforward.bases` and
`pushforward.networks`. Names are imported on first use, so that `--help` does not import JAX; `__init__.pyi` and, for
recipes, `recipes/__init__.py` list them.
"""

import ast
from typing import Any

import lazy_loader


def _statements(name: str) -> list[ast.stmt]:
    with open(f"{__path__[0]}/{name}", encoding="utf-8") as file:  # noqa: PTH123 (pathlib doubles the time of import)
        return ast.parse(file.read()).body


def _names() -> dict[str, list[str]]:
    """The public names of each module, read as text."""
    names = {}
    for node in _statements("__init__.pyi"):
        if isinstance(node, ast.ImportFrom):
            names.setdefault(node.module or "", []).extend(alias.name for alias in node.names)
    for node in _statements("recipes/__init__.py"):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names["recipes"] = ast.literal_eval(node.value)
    return names


_NAMES = _names()
_load, __dir__, __all__ = lazy_loader.attach(__name__, _NAMES.pop(""), _NAMES)


def __getattr__(name: str) -> Any:
    try:
        return _load(name)
    except AttributeError:
        if name.startswith("_") or name in __all__:  # Python asks for some, such as __path__; or an import failed
            raise
    message = f"pushforward has no attribute {name!r}. {_suggestion(name)}"
    raise AttributeError(message, name=None, obj=None)  # with them Python would append its suggestion


def _suggestion(name: str) -> str:
    """The public names that are spelled alike: in lower case, underscores left out.

    >>> _suggestion("RealNVP"), _suggestion("real_npv")
    ('Did you mean real_nvp?', 'Did you mean real_nvp?')
    """
    import difflib

    spellings = {known.lower().replace("_", ""): known for known in __all__}
    matches = difflib.get_close_matches(name.lower().replace("_", ""), list(spellings), 1)
    return f"Did you mean {spellings[matches[0]]}?" if matches else "dir(pushforward) lists the public names."
