"""pushforward: normalizing flows in JAX, for tables of numbers and for research.

This module has the functions and recipes; layers are in `pushforward.bijections`, `pushforward.bases` and
`pushforward.networks`. Names are imported on first use, so that `--help` does not import JAX; `__init__.pyi` and, for
recipes, `recipes/__init__.py` list them.
"""

import ast
from pathlib import Path

import lazy_loader


def _statements(name: str) -> list[ast.stmt]:
    return ast.parse((Path(__file__).parent / name).read_text(encoding="utf-8")).body


RECIPE_NAMES = next(
    tuple(ast.literal_eval(node.value))
    for node in _statements("recipes/__init__.py")
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
)
_NAMES: dict[str, list[str]] = {"": [], "recipes": [*RECIPE_NAMES]}
for _node in _statements("__init__.pyi"):
    if isinstance(_node, ast.ImportFrom) and _node.names[0].name != "*":
        _NAMES.setdefault(_node.module or "", []).extend(alias.name for alias in _node.names)
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, _NAMES.pop(""), _NAMES)
