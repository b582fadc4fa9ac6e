"""Properties of dependence: weights, context and inputs change the outputs that they should, and no other."""

import jax
import numpy as np

from battery.bounds import flat
from battery.case import AtWeights, Case
from battery.points import N


def gradient_reaches(case: Case, w: AtWeights) -> list[str]:
    """Every non-empty trained leaf changes some output; in a `Repeat`, the leaf of every layer."""
    wrong = []
    for name, side in zip(("forward", "inverse"), w.at, strict=True):
        for path, leaf in jax.tree_util.tree_leaves_with_path(side.influence):
            repeated = any(getattr(step, "name", "") == "layers" for step in path)
            parts = leaf.reshape(leaf.shape[0], -1).max(1) if repeated else leaf.max(initial=0)
            if leaf.size and not np.all(parts > 0):
                wrong.append(f"{name}: nothing depends on {jax.tree_util.keystr(path)} {parts}")
    return wrong if not case.row.dead else ([] if wrong else [f"exempt ({case.row.dead}), but every leaf is alive"])


def context_reaches(case: Case, w: AtWeights) -> list[str]:
    """Every component of the context changes every output that it should, and no other."""
    if case.context is None:
        return []
    expected = case.row.context_reaches
    expected = np.ones(case.size, bool) if expected is None else expected.reshape(-1)
    wrong = []
    for name, side in zip(("forward", "inverse"), w.at, strict=True):
        changed = np.abs(side.context_jacobian[:, :-1]).max(0) > 0
        mismatches = [index for index in range(case.size) if (changed[index] != expected[index]).any()]
        wrong += [f"{name}: output {index} depends on context components {changed[index]}" for index in mismatches]
        if not (np.abs(side.context_jacobian[:, -1]).max(0) > 0).any() and case.row.tolerance != "exact":
            volume = np.abs(side.log_det_gradient).max()
            if volume > 0:
                wrong.append(f"{name}: the log-determinant ignores the context")
    return wrong


def dependence(case: Case, w: AtWeights) -> list[str]:
    """A perturbation of each input changes exactly the outputs in the declared matrix."""
    expected = case.row.depends
    if expected is None:
        return []
    wrong = []
    # the same point N times; in copy j coordinate j is perturbed, in the last copy none
    base = np.repeat(-np.abs(case.z[:1]).reshape(1, -1), N, 0)  # negative, where a leaky ReLU is nonlinear
    base[np.arange(case.size), np.arange(case.size)] += 0.1
    context = None if case.context is None else np.repeat(case.context[:1], N, 0)
    points = base.reshape(N, *case.shape)
    sides = case.figures(w.trained, points, points, context)
    for name, side, closed in zip(("forward", "inverse"), sides, (expected, _closure(expected)), strict=True):
        out = flat(side.out)
        changed = (out[: case.size] != out[-1]).T
        if (changed & ~closed).any():
            wrong.append(f"{name}: too many dependencies\n{changed.astype(int)}, expected\n{closed.astype(int)}")
        if name == "forward" and (expected & ~changed).any():
            wrong.append(
                f"{name}: outputs depend on too little\n{changed.astype(int)}, expected\n{expected.astype(int)}"
            )
    return wrong


def _closure(matrix: np.ndarray) -> np.ndarray:
    """Where the inverse of a matrix of this pattern may be non-zero."""
    pattern = np.linalg.inv(np.where(matrix, np.random.default_rng(0).uniform(1, 2, matrix.shape), 0.0))
    return np.abs(pattern) > 1e-12
