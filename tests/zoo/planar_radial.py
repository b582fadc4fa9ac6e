"""Planar, radial and Sylvester layers, alone and with their leaves shifted by a context."""

from collections.abc import Callable

import jax

from pushforward.bijection import AbstractBijection
from pushforward.bijections import Cayley, Chain, Householder, Permutation, Planar, Radial, Sylvester
from zoo.builders import conditional
from zoo.rows import Row

_KEY = jax.random.key(11)


def _sylvester(rotation: AbstractBijection, n_units: int | None = None, bend: str = "tanh") -> Sylvester:
    return Sylvester(rotation, n_units, bend=bend, key=_KEY)


def planar_radial_rows() -> list[Row]:
    """Leaky units are told apart from tanh ones, as their inverse is a formula; the rotations, as each has its own."""
    kinds: dict[str, tuple[Callable[[], AbstractBijection], str]] = {
        "Planar": (lambda: Planar(3, key=_KEY), "root"),
        "Planar leaky": (lambda: Planar(3, bend="leaky_relu", key=_KEY), "root"),
        "Radial": (lambda: Radial(3, key=_KEY), "root"),
        "Sylvester orthogonal": (lambda: _sylvester(Householder(3, 2, key=_KEY), 2), "root"),
        "Sylvester Householder": (lambda: _sylvester(Householder(3, 4, key=_KEY), bend="leaky_relu"), "root"),
        "Sylvester triangular": (lambda: _sylvester(Permutation([2, 1, 0])), "root"),
    }
    one = {
        "Planar D=1": lambda: Planar(1, key=_KEY),
        "Radial D=1": lambda: Radial(1, key=_KEY),
        "Sylvester D=1": lambda: _sylvester(Permutation([0])),
        "Sylvester Cayley D=2": lambda: _sylvester(Chain([Permutation([1, 0]), Cayley(2)])),
    }
    rows = [Row(name, build, tolerance) for name, (build, tolerance) in kinds.items()]
    rows += [
        Row(f"Conditional[{name}]", lambda build=build: conditional(build()), tolerance, spread=0.2)
        for name, (build, tolerance) in kinds.items()
    ]
    return rows + [Row(name, build, "root") for name, build in one.items()]
