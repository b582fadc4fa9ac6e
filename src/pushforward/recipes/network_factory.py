"""What `network=` means in a recipe: a factory of the caller's instead of the default networks."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import equinox as eqx

from pushforward.core.bijection import AbstractBijection
from pushforward.core.repeat import Repeat
from pushforward.errors import ShapeError
from pushforward.networks import ZeroInitialised
from pushforward.recipes.checks import without

# network(in_size, out_shape, *, context_size, key) -> module; autoregressive recipes have ranks instead of in_size
NetworkFactory: TypeAlias = Callable[..., Any]

# arguments of recipes that describe their default networks only
_OF_DEFAULT_NETWORKS = (
    "width", "depth", "activation", "residual", "dropout", "conditioner", "n_heads", "token_size", "cycle", "lipschitz",
)  # fmt: skip


def network_arguments(recipe: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a recipe; with `network=`, without those that describe its default networks.

    Args:
        recipe: its signature has the defaults.
        arguments: the recipe's `locals()`.

    Raises:
        ValueError: if `network` is no factory, or comes with another value than the default of such an argument.
    """
    network = arguments["network"]
    if network is None:
        return dict(arguments)
    if not callable(network) or (isinstance(network, eqx.Module) and not isinstance(network, eqx.Partial)):
        raise ValueError(
            "network: expected a function that makes a network for each layer, such as "
            f"functools.partial(pf.networks.MLP, width=128), got a {type(network).__name__}."
        )
    try:
        inspect.signature(network).bind(0, (), context_size=0, key=None)
    except TypeError as error:
        size = "ranks" if "order" in inspect.signature(recipe).parameters else "in_size"
        raise ValueError(
            f"network: expected a function called as network({size}, out_shape, context_size=..., key=...); it raised: "
            f"{error}."
        ) from error
    parameters = inspect.signature(recipe).parameters
    names = [name for name in _OF_DEFAULT_NETWORKS if name in parameters]
    for name in names:
        value, default = arguments[name], parameters[name].default
        if value is not default and value != default:
            raise ValueError(
                f"{name}: expected the default {default!r} with network=, because it describes the default network, "
                f"got {value!r}. Set it in the function passed as network=, for example by functools.partial."
            )
    return without(arguments, *names)


def callers_factory(network: NetworkFactory | None, start_at_identity: bool) -> NetworkFactory | None:
    """The caller's factory, whose networks start at zero if `start_at_identity`; None without one."""
    if not start_at_identity:
        return network
    if network is None:
        raise ValueError(
            "start_at_identity: expected False without network=, because the outputs of the default networks start at "
            "zero already; got True."
        )

    def make(size: Any, out_shape: Any, **options: Any) -> ZeroInitialised:
        return ZeroInitialised(network(size, out_shape, **options), out_shape)

    return make


def check_has_network(network: NetworkFactory | None, context_dim: int | None) -> None:
    """Raise unless a flow whose only network is one of the context has a context, where `network=` is given."""
    if network is not None and context_dim is None:
        raise ValueError(
            "network: expected None without context_dim=, because the only network of this flow is one of the context; "
            f"got {network!r}."
        )


def repeated(layers: Sequence[AbstractBijection], network: NetworkFactory | None, **options: Any) -> Repeat:
    """The layers in a `Repeat`; an error that names `network` if the caller's networks differ in more than weights."""
    if network is None:
        return Repeat(layers, **options)
    try:
        return Repeat(layers, **options)
    except ShapeError as error:
        raise ShapeError(
            "network: expected networks that differ in their weights only, but those of two layers differ in "
            "structure. A function made anew in each call, such as a lambda inside network=, differs too: define it "
            "outside. "
            f"({error})"
        ) from error
