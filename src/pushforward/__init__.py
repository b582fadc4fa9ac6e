"""pushforward: normalizing flows in JAX, for tables of numbers and for research.

This module has the functions and recipes; layers are in `pushforward.bijections`, `pushforward.bases` and
`pushforward.networks`. Names are imported on first use, so that `--help` does not import JAX; `__init__.pyi` and, for
recipes, `recipes/__init__.py` list them.
"""

import ast

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
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, _NAMES.pop(""), _NAMES)
