"""Roles of module fields: trained (default), frozen, emitted by a conditioner, or shared by all coordinates.

The role is dataclass metadata of the field, and is read along the path from the root to each leaf. Modules are never
wrapped or rebuilt, so user code sees plain arrays.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import PyTree

from pushforward.numerics.arrays import is_inexact, on_device

_ROLE = "pushforward_role"


def frozen(**options: Any) -> Any:
    """Declare a field whose arrays are never trained: permutations, standardisation, the scale of a base."""
    return eqx.field(metadata={_ROLE: "frozen"}, **options)


def emitted(**options: Any) -> Any:
    """Declare a scalar bijection whose leaves are initial values to which a conditioner's output is added.

    They are frozen, except those under a field of the scalar bijection that is declared `shared`.
    """
    return eqx.field(metadata={_ROLE: "emitted"}, **options)


def shared(**options: Any) -> Any:
    """Declare a field of a scalar bijection that is trained once for all coordinates and not emitted."""
    return eqx.field(metadata={_ROLE: "shared"}, **options)


def _roles(tree: Any, path: tuple[Any, ...]) -> list[str]:
    roles, node = [], tree
    for step in path:
        if isinstance(step, jax.tree_util.GetAttrKey):
            declared = getattr(type(node), "__dataclass_fields__", {}).get(step.name)
            if declared is not None and _ROLE in declared.metadata:
                roles.append(declared.metadata[_ROLE])
            node = getattr(node, step.name)
        else:
            node = node[step.idx if isinstance(step, jax.tree_util.SequenceKey) else step.key]
    return roles


def _filter(tree: Any, predicate: Callable[[list[str]], bool]) -> PyTree[bool]:
    with_paths, structure = jax.tree_util.tree_flatten_with_path(tree)
    flags = [is_inexact(leaf) and predicate(_roles(tree, path)) for path, leaf in with_paths]
    return jax.tree.unflatten(structure, flags)


def _is_trained(roles: list[str]) -> bool:
    if "frozen" in roles:
        return False
    return "emitted" not in roles or "shared" in roles[roles.index("emitted") :]


def trainable(tree: Any) -> PyTree[bool]:
    """Filter of the trained leaves, as used by training, counting and freezing.

    Args:
        tree: a flow, a bijection, a network, or any tree of them.

    Returns:
        A tree of the same structure with a bool at each leaf; pass it to `equinox.partition` or, edited, to
        `fit(..., trainable=...)`.

    Example:
        >>> import pushforward as pf
        >>> flow = pf.nice(dim=2, key=0)
        >>> trained, rest = eqx.partition(flow, pf.trainable(flow))
    """
    return _filter(tree, _is_trained)


def emitted_leaves(tree: Any) -> PyTree[bool]:
    """Filter of the leaves of a scalar bijection that a conditioner emits for each coordinate."""
    return _filter(tree, lambda roles: "frozen" not in roles and "shared" not in roles)


def count_parameters(tree: Any) -> int:
    """The number of trained numbers in a tree."""
    trained = eqx.filter(tree, trainable(tree))
    return sum(leaf.size for leaf in jax.tree.leaves(trained))


def cast(tree: Any, dtype: Any) -> Any:
    """Cast the floating-point JAX arrays of a tree to a dtype; NumPy arrays (standardisation) stay float64.

    Args:
        tree: a flow, a bijection, or any tree of them.
        dtype: float32 or float64; the latter needs `jax.enable_x64(True)` around this call and the use of its result.
            float16 and bfloat16 are for storage: `fit`, `fit_target` and `distill` refuse them.

    Example:
        >>> import pushforward as pf
        >>> flow = pf.cast(pf.nice(dim=2, key=0), "float32")
    """

    def convert(leaf: Any) -> Any:
        is_half = is_inexact(leaf) and leaf.dtype.itemsize < 4  # cast in NumPy too: standardisation is never half
        if not is_inexact(leaf) or not (isinstance(leaf, jax.Array) or is_half):
            return leaf
        # Uncommitted arrays are cast on the host: eager JAX would compile a program for every shape.
        is_free = isinstance(leaf, jax.Array) and not isinstance(leaf, jax.core.Tracer) and not leaf.committed
        return on_device(leaf, dtype) if is_free else leaf.astype(dtype)

    return jax.tree.map(convert, tree)
