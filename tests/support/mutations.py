"""Planted faults: source patches that the tests must detect. Each was a real bug of some library.

    python tests/support/mutations.py            plant each fault in a copy of src, run the tests that must detect it,
    print a table

Exit code 1 if a fault survives, or if a patch no longer fits the source.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Fault:
    """A fault: its name, patches (file, old text, new text), and the tests that must fail."""

    name: str
    patches: tuple[tuple[str, str, str], ...]
    tests: tuple[str, ...]


AFFINE = "bijections/scalar/affine.py"
KERNEL = "bijections/scalar/spline_kernel.py"

FAULTS = (
    Fault(
        "sign of a log-determinant",
        ((AFFINE, "jnp.zeros_like(x) - log_scale", "jnp.zeros_like(x) + log_scale"),),
        ("tests/test_battery.py", "-k", "row and Affine and not Coupling and not Chain"),
    ),
    Fault(
        "mask dropped: the network sees the part that it transforms",
        (
            (
                "bijections/coupling.py",
                "with_angles(conditioning, self.angles)",
                "with_angles(conditioning + jnp.sum(transformed), self.angles)",
            ),
        ),
        ("tests/test_battery.py", "-k", "test_row and Coupling and Affine"),
    ),
    Fault(
        "spline evaluated outside its box before the choice",
        (
            (KERNEL, "clip(value, -box.bound, box.bound)", "value"),
            (
                KERNEL,
                "u = straight_through_clip((clipped - selected.left) / selected.width, 0.0, 1.0)",
                "u = (clipped - selected.left) / selected.width",
            ),
        ),
        ("tests/bijections/test_spline.py", "-k", "hard_points"),
    ),
    Fault(
        "clip that halves a derivative at a knot",
        (
            (
                KERNEL,
                "u = straight_through_clip((clipped - selected.left)",
                "u = jnp.clip((clipped - selected.left)",
            ),
        ),
        ("tests/test_derivatives.py", "-k", "at_knots_are_right_sided"),
    ),
    Fault(
        "root constant in its derivative",
        (
            (
                "numerics/roots.py",
                "(floats, rest, x), x, (floats_dot",
                "(floats, rest, jax.lax.stop_gradient(x)), x, (floats_dot",
            ),
        ),
        ("tests/test_derivatives.py", "-k", "roots_inside"),
    ),
    Fault(
        "spline whose end slopes are free",
        ((KERNEL, "slope if box.circular else jnp.where(selected.index == edge, 1.0, slope)", "slope"),),
        ("tests/bijections/test_spline.py", "-k", "continuous_at_the_edge"),
    ),
    Fault(
        "scale without a bound",
        ((AFFINE, "log_scale = soft_clamp(self.log_scale, self.log_bound)", "log_scale = self.log_scale"),),
        ("tests/core/test_core.py", "-k", "log_scales_are_bounded"),
    ),
    Fault(
        "LU diagonal without a lower bound",
        (
            (
                "bijections/linear/diagonal.py",
                "jax.nn.softplus(raw + inverse_softplus(1.0 - minimum)) + minimum",
                "jax.nn.softplus(raw + inverse_softplus(1.0 - minimum))",
            ),
        ),
        ("tests/core/test_core.py", "-k", "plu_is_never_singular"),
    ),
    Fault(
        "inverse of a permutation is the permutation",
        (
            (
                "bijections/linear/permutation.py",
                "on_device(np.argsort(order), jnp.int32)",
                "on_device(order, jnp.int32)",
            ),
        ),
        ("tests/test_battery.py", "-k", "row and Permutation"),
    ),
    Fault(
        "context ignored",
        (
            (
                "networks/network.py",
                "return jnp.concatenate([x, context])",
                "return jnp.concatenate([x, jnp.zeros_like(context)])",
            ),
        ),
        ("tests/test_battery.py", "-k", "test_row and Coupling and with and context"),
    ),
    Fault(
        "log-determinants of a chain are not added",
        (("core/chain.py", "total = total + log_det", "total = log_det"),),
        ("tests/test_battery.py", "-k", "row and Chain"),
    ),
    Fault(
        "log-determinants of repeated layers are not added",
        (("core/repeat.py", "(total + log_det).astype(dtype)", "log_det.astype(dtype)"),),
        ("tests/core/test_core.py", "-k", "repeat"),
    ),
    Fault(
        "inverse whose forward direction is that of the bijection",
        (
            (
                "core/inverse.py",
                "return self.bijection.inverse_and_log_det(z",
                "return self.bijection.forward_and_log_det(z",
            ),
        ),
        ("tests/test_battery.py", "-k", "row and Inverse and Exp"),
    ),
    Fault(
        "flow that subtracts its log-determinant",
        (("core/flow.py", "base_log_prob + log_det)", "base_log_prob - log_det)"),),
        ("tests/test_battery.py", "-k", "row and maf and agree"),
    ),
    Fault(
        "normal density without its scale",
        (("bases/normal.py", "/ self.scale) - jnp.log(self.scale))", "/ self.scale))"),),
        ("tests/bases/test_bases.py", "-k", "Normal"),
    ),
    Fault(
        "attention that sees a later coordinate",
        (("networks/attention.py", "np.tri(self.n_ranks, dtype=bool)", "np.tri(self.n_ranks, k=1, dtype=bool)"),),
        ("tests/core/test_circles.py", "-k", "attention"),
    ),
    Fault(
        "masked network that sees the coordinate it maps",
        (("networks/masked_pass.py", "np.arange(weight.shape[-1]) < fan_in", "np.arange(weight.shape[-1]) <= fan_in"),),
        ("tests/test_battery.py", "-k", "row and MaskedAutoregressive"),
    ),
    Fault(
        "validation rows that also train",
        (("train/split.py", "return order[count:], order[:count]", "return order, order[:count]"),),
        ("tests/train/test_split.py",),
    ),
    Fault(
        "steps that are not finite are taken",
        (("train/step.py", "jnp.where(is_finite, new, old)", "new"),),
        ("tests/train/test_fit_failures.py", "-k", "not_finite_is_skipped"),
    ),
    Fault(
        "weight decay moves frozen layers",
        (
            (
                "train/step.py",
                "params = partition.keep_frozen(params, state.params, state.frozen)\n    frozen, flow",
                "frozen, flow",
            ),
        ),
        ("tests/train/test_trained_parts.py", "-k", "keep_their_bits and fit and decay"),
    ),
    Fault(
        "the gradient of frozen entries counts in its norm",
        (
            (
                "train/step.py",
                "params = partition.keep_frozen(params, state.params, state.frozen)\n            return loss",
                "return loss",
            ),
        ),
        ("tests/train/test_trained_parts.py", "-k", "clip"),
    ),
    Fault(
        "masses without the widths of their bins",
        (("core/discretised.py", "xp.where(width > 0, xp.log(", "0.0 * xp.where(width > 0, xp.log("),),
        ("tests/tabular/test_columns.py", "-k", "mass"),
    ),
    Fault(
        "hash of a model file is not compared",
        (("persistence/container.py", 'if digest != header["sha256"]:', "if False:"),),
        ("tests/persistence/test_persistence.py", "-k", "hash_covers"),
    ),
    Fault(
        "effective sample size of weights that are not normalised",
        (("diagnostics/weights.py", "weights.sum() ** 2 / (weights**2).sum()", "weights.sum() / (weights**2).sum()"),),
        ("tests/diagnostics/test_importance.py",),
    ),
    Fault(
        "gradient of a fixed point without its linear solve",
        (("numerics/fixed_point.py", "return right + _push(pull, v)", "return right"),),
        ("tests/bijections/test_autoregressive.py", "-k", "derivatives and jacobi"),
    ),
    Fault(
        "power series whose terms have one sign",
        (("bijections/residual/power_series.py", "jnp.where(k % 2 == 1, 1, -1)", "jnp.where(k % 2 == 1, 1, 1)"),),
        ("tests/bijections/test_residual.py",),
    ),
    Fault(
        "centre subtracted after the cast to float32",
        (
            (
                "core/boundary.py",
                "value = np.asarray(value, np.float64) - centre",
                "value = np.asarray(np.asarray(value, dtype) - centre.astype(dtype))",
            ),
        ),
        ("tests/core/test_centres.py", "-k", "invariant"),
    ),
)


def plant(fault: Fault, folder: Path) -> str:
    """Copies src and plants the fault. Returns an error message if a patch does not fit."""
    shutil.copytree(ROOT / "src", folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name, old, new in fault.patches:
        path = folder / "pushforward" / name
        source = path.read_text(encoding="utf-8")
        if old not in source:
            return f"patch does not fit {name}"
        path.write_text(source.replace(old, new), encoding="utf-8")
    return ""


def verdict(fault: Fault) -> tuple[str, float]:
    """ "caught", "SURVIVED" or an error message, and the seconds."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "src"
        if error := plant(fault, folder):
            return error, 0.0
        environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "pytest", "--quiet", "-x", "-p", "no:cacheprovider", *fault.tests]
        process = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    outcome = {0: "SURVIVED", 1: "caught"}.get(process.returncode, f"pytest ended with {process.returncode}")
    if (
        outcome == "caught"
        and str(folder) not in process.stdout + process.stderr
        and "AssertionError" not in process.stdout
        and "DID NOT RAISE" not in process.stdout
    ):
        outcome = "failed for another reason"
    return outcome, time.monotonic() - start


def main() -> int:
    survived = 0
    print(f"{'planted fault':<55}{'verdict':<28}{'seconds':>8}")
    for fault in FAULTS:
        outcome, seconds = verdict(fault)
        survived += outcome != "caught"
        print(f"{fault.name:<55}{outcome:<28}{seconds:>8.1f}", flush=True)
    print(f"{len(FAULTS) - survived} of {len(FAULTS)} caught")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
