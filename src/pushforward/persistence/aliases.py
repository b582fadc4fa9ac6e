"""Names of classes and fields as older model files hold them, and what they are called today."""

from typing import Any

# today's name of a class by its old one
CLASSES: dict[str, str] = {"Rounded": "Discretised"}

# old names of fields by today's, for a class by its name of today
FIELDS: dict[str, dict[str, str]] = {
    "MaskedAutoregressive": {"max_iterations": "max_sweeps"},
}


def current_class(name: Any) -> Any:
    """Today's name of a class; what is no old name stays as it is."""
    return CLASSES.get(name, name) if isinstance(name, str) else name


def stored_names(name: str, fields: dict[str, Any]) -> dict[str, str]:
    """The fields of a file by their names of today, each with the name under which the file holds it.

    >>> stored_names("MaskedAutoregressive", {"max_sweeps": 3, "method": "cached"})
    {'max_iterations': 'max_sweeps', 'method': 'method'}
    """
    today = {old: new for new, old in FIELDS.get(name, {}).items() if new not in fields}
    return {today.get(field, field): field for field in fields}
