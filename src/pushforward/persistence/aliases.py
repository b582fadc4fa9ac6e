"""Aliases: names of classes and fields in older model files, and their current names."""

from typing import Any

# current name of a class by its old name
CLASSES: dict[str, str] = {"Rounded": "Discretised"}

# by the current name of a class: old names of fields by their current names
FIELDS: dict[str, dict[str, str]] = {
    "CausalAttention": {"inverse_order": "places"},
    "CausalConvolution": {"inverse_order": "places"},
    "LinearRationalSpline": {"inner_knots": "places"},
    "MaskedAutoregressive": {"max_iterations": "max_sweeps"},
    "MaskedMLP": {"inverse_order": "places"},
    "MonotoneIntegral": {"value_weight": "by_place", "embedding_weight": "by_embedding"},
    "Planar": {"nonlinearity": "bend"},
    "Radial": {"raw_scale": "strength"},
    "RussianRoulette": {"distribution": "law"},
    "Sylvester": {"nonlinearity": "bend"},
}


def current_class(name: Any) -> Any:
    """The current name of a class; a name without an alias is returned unchanged."""
    return CLASSES.get(name, name) if isinstance(name, str) else name


def stored_names(name: str, fields: dict[str, Any]) -> dict[str, str]:
    """Map the current names of the stored fields to their names in the file.

    >>> stored_names("MaskedAutoregressive", {"max_sweeps": 3, "method": "cached"})
    {'max_iterations': 'max_sweeps', 'method': 'method'}
    """
    current = {old: new for new, old in FIELDS.get(name, {}).items() if new not in fields}
    return {current.get(field, field): field for field in fields}
