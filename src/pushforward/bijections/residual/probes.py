"""Random directions v with E[v v^T] = I, whose v^T A v estimate the trace of A (Hutchinson's estimator).

gaussian     independent normals; variance 2 |S|^2, S the symmetric part of A
rademacher   independent signs; variance 2 (|S|^2 - sum of S_ii^2), the least with independent entries
orthogonal   random orthogonal directions of length sqrt(D), whose errors compensate each other; the mean over D of them
             is the exact trace.

Reference: Hutchinson 1990; Avron & Toledo 2011 (variances); Choromanski, Rowland & Weller 2017 (orthogonal directions).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

PROBES = ("gaussian", "rademacher", "orthogonal")


def draw_probes(
    kind: str, n_probes: int, size: int, dtype: jnp.dtype, key: PRNGKeyArray | None
) -> Float[Array, "probes size"]:
    """Probes, one in each row."""
    key = checked_key(key)
    if kind == "rademacher":
        return jax.random.rademacher(key, (n_probes, size), dtype)
    probes = jax.random.normal(key, (n_probes, size), dtype)
    if kind == "gaussian":
        return probes
    return size**0.5 * jnp.linalg.qr(probes.T)[0].T


def checked_key(key: PRNGKeyArray | None) -> PRNGKeyArray:
    """The key; an error if there is none."""
    if key is None:
        raise ValueError("key: a random log-determinant needs a key, got none. Pass one, or use Exact().")
    return key


def check_probes(kind: str, n_probes: int) -> None:
    """Raise unless the kind is known and there is at least one probe."""
    if kind not in PROBES:
        raise ValueError(f"probe: expected one of {', '.join(PROBES)}, got {kind!r}.")
    if n_probes < 1:
        raise ValueError(f"n_probes: expected at least 1, got {n_probes}.")
