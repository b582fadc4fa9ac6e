"""Residual blocks: activations, norms, contexts, and the inverse, which flows use."""

from collections.abc import Callable
from typing import Any

import jax

from pushforward.bijections import Contractive, Inverse
from pushforward.core.bijection import AbstractBijection
from pushforward.networks import LipschitzConvNet, LipschitzMLP
from zoo.rows import CONTEXT_DIM, Row

_INF = float("inf")


def block(size: int = 3, lipschitz: float = 0.9, **options: Any) -> Contractive:
    options = {"width": 8, "depth": 1, **options}
    return Contractive(LipschitzMLP(size, lipschitz=lipschitz, key=jax.random.key(5), **options))


def residual_rows() -> list[Row]:
    kinds: dict[str, Callable[[], AbstractBijection]] = {
        "Contractive": lambda: block(),
        "Contractive steep": lambda: block(lipschitz=0.97, depth=2, activation="elu"),
        "Contractive softplus": lambda: block(2, activation="softplus"),
        "Contractive tanh, norm inf": lambda: block(activation="tanh", norms=(_INF, 2, _INF)),
        "Contractive norm 1": lambda: block(norms=(1, _INF, 1)),
        "Contractive D=1": lambda: block(1),
        "Contractive context": lambda: block(context_size=CONTEXT_DIM),
        "Inverse[Contractive]": lambda: Inverse(block(2)),
    }
    image = LipschitzConvNet(
        (2, 3, 1), width=3, depth=1, lipschitz=0.9, context_size=CONTEXT_DIM, key=jax.random.key(5)
    )
    kinds["Contractive image, context"] = lambda: Contractive(image)
    quick = {"Contractive": ("float32",), "Contractive steep": ()}
    return [Row(name, build, "root", quick=quick.get(name, ())) for name, build in kinds.items()]
