"""pushforward: normalizing flows in JAX, for tables of numbers and for research.

This module has the functions and recipes; layers are in `pushforward.bijections`, `pushforward.bases` and
`pushforward.networks`. Names are imported on first use, so that `--help` does not import JAX; `__init__.pyi` and, for
recipes, `recipes/__init__.py` list them.
"""

import ast
from pathlib import Path

import lazy_loader


def _names() -> dict[str, list[str]]:
    """The public names of each module, read as text."""
    folder, names = Path(__file__).parent, {}
    for node in ast.parse((folder / "__init__.pyi").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            names.setdefault(node.module or "", []).extend(alias.name for alias in node.names)
    for node in ast.parse((folder / "recipes/__init__.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names["recipes"] = ast.literal_eval(node.value)
    return names


_NAMES = _names()
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, _NAMES.pop(""), _NAMES)
