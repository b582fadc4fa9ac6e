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
