"""Every tolerance of the battery in one place, with its reason.

Errors are measured against what rounding alone can do: a round trip may err by `factor * eps * kappa`, kappa from the
Jacobians at that very point, so a bound is tight where the map is well-conditioned and gives no false alarm at a steep
knot. In float64 a fixed ceiling of the class holds too, at ordinary points: it sees a map that is needlessly
ill-conditioned, which a bound relative to kappa forgives.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tolerance:
    """What one class of maps may err.

    Attributes:
        factor: C in C * eps * kappa, for round trips and log-determinants.
        ceiling: greatest absolute error of a float64 round trip at ordinary points.
        log_det_ceiling: greatest absolute error of a float64 log-determinant there, against autodiff.
        reason: why these numbers.
        rule: what a quadrature rule leaves between a log-determinant and the derivative of the map, absolute.
    """

    factor: float
    ceiling: float
    log_det_ceiling: float
    reason: str
    rule: float = 0.0


TOLERANCES = {
    "exact": Tolerance(4, 1e-15, 1e-15, "moves numbers about, or adds one: a rounding or two"),
    "elementary": Tolerance(20, 1e-12, 1e-12, "a few elementary functions, each within some ulp"),
    "linear": Tolerance(50, 1e-10, 1e-10, "D products summed, then the scales of a few layers"),
    "root": Tolerance(50, 1e-8, 1e-8, "a root found to the last place of x, where rounding of the map lets it"),
    "integral": Tolerance(50, 1e-8, 1e-8, "a root, of a map that is a quadrature rule", rule=1e-9),
    "spline": Tolerance(50, 1e-9, 1e-8, "bins down to 1e-3 of the box: a secant is known to 1e3 eps"),
}

# The integral of a density on a midpoint grid. The rule errs by the second derivative, and by the jumps that knots of a
# spline and kinks of a ReLU put into the density or its slope; on the rows here it stays well below this.
# Detects a density that is wrong by half a percent.
INTEGRAL = 5e-3

# Standard errors within which a ball's volume must be estimated: a false alarm in 1.7 million tests.
BALL_STANDARD_ERRORS = 5.0

# Vmapped and looped evaluations sum the same products in another order: eps times the size of what is summed, and the
# longest sum of a row has a few dozen terms.
REORDERED = 400.0

# The slow direction of autoregressive layers against whole passes, relative to 1 + the largest figure: a few hundred
# float32 sums in a row; float64 with nine more digits, of which conditioning takes two.
SEQUENTIAL = {"float32": 1e-4, "float64": 1e-11}

# Float32 figures that miss it (257 coordinates: whole passes themselves err by 1.5e-4 of a log-determinant of 1,300)
# may be this many times further from float64 than those of whole passes, and no more: both are sums in other orders.
SEQUENTIAL_REFERENCE = 4.0
