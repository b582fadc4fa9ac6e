"""Planar, radial and Sylvester layers, alone and with their leaves shifted by a context."""

from collections.abc import Callable

import jax

from pushforward.bijections import Cayley, Chain, Householder, Permutation, Planar, Radial, Sylvester
from pushforward.core.bijection import AbstractBijection
from zoo.builders import conditional
from zoo.rows import BOTH, Row

_KEY = jax.random.key(11)


def _sylvester(rotation: AbstractBijection, n_units: int | None = None, nonlinearity: str = "tanh") -> Sylvester:
    return Sylvester(rotation, n_units, nonlinearity=nonlinearity, key=_KEY)


def planar_radial_rows() -> list[Row]:
    """Leaky and tanh units have different inverses, and each rotation its own code: every combination has a row."""
    kinds: dict[str, Callable[[], AbstractBijection]] = {
        "Planar": lambda: Planar(3, key=_KEY),
        "Planar leaky": lambda: Planar(3, nonlinearity="leaky_relu", key=_KEY),
        "Radial": lambda: Radial(3, key=_KEY),
        "Sylvester orthogonal": lambda: _sylvester(Householder(3, 2, key=_KEY), 2),
        "Sylvester Householder": lambda: _sylvester(Householder(3, 4, key=_KEY), nonlinearity="leaky_relu"),
        "Sylvester triangular": lambda: _sylvester(Permutation([2, 1, 0])),
    }
    one = {
        "Planar D=1": lambda: Planar(1, key=_KEY),
        "Radial D=1": lambda: Radial(1, key=_KEY),
        "Sylvester D=1": lambda: _sylvester(Permutation([0])),
        "Sylvester Cayley D=2": lambda: _sylvester(Chain([Permutation([1, 0]), Cayley(2)])),
    }
    quick = {"Sylvester orthogonal": ("float32",), "Sylvester Householder": ("float64",), "Sylvester triangular": ()}
    rows = [Row(name, build, "root", quick=quick.get(name, BOTH)) for name, build in kinds.items()]
    for name, build in kinds.items():
        types = ("float64",) if name in ("Planar", "Radial") else ()
        layer = lambda build=build: conditional(build())  # noqa: E731
        rows.append(Row(f"Conditional[{name}]", layer, "root", spread=0.2, quick=types))
    return rows + [Row(name, build, "root", quick=("float32",) if "D=1" in name else ()) for name, build in one.items()]
