"""All tolerances of the battery, with their reasons.

Errors are compared with rounding: the bound of a round trip is `factor * eps * kappa`, with kappa from the Jacobians at
that point, so that it is tight where the map is well-conditioned and gives no false alarm at a steep knot. In float64 a
fixed ceiling for each class holds too, at ordinary points: it detects a map that is needlessly ill-conditioned, which a
bound relative to kappa accepts.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tolerance:
    """The allowed errors of one class of maps.

    Attributes:
        factor: C in C * eps * kappa, for round trips and log-determinants.
        ceiling: greatest absolute error of a float64 round trip at ordinary points.
        log_det_ceiling: greatest absolute error of a float64 log-determinant there, against autodiff.
        reason: why these numbers.
        rule: absolute error of a quadrature rule between a log-determinant and the derivative of the map.
    """

    factor: float
    ceiling: float
    log_det_ceiling: float
    reason: str
    rule: float = 0.0


TOLERANCES = {
    "exact": Tolerance(4, 1e-15, 1e-15, "permutes coordinates, or adds one number: a rounding or two"),
    "elementary": Tolerance(20, 1e-12, 1e-12, "a few elementary functions, each within some ulp"),
    "linear": Tolerance(50, 1e-10, 1e-10, "D products summed, then the scales of a few layers"),
    "root": Tolerance(50, 1e-8, 1e-8, "a root to the last place of x, as far as rounding of the map allows"),
    "integral": Tolerance(50, 1e-8, 1e-8, "a root, of a map that is a quadrature rule", rule=1e-9),
    "spline": Tolerance(50, 1e-9, 1e-8, "bins down to 1e-3 of the box: a secant is known to 1e3 eps"),
}

# The integral of a density on a midpoint grid. The error of the rule comes from the second derivative and from jumps of
# the density or its slope at knots of splines and kinks of ReLUs; for the rows here it is well below this bound.
# Detects a density that is wrong by half a percent.
INTEGRAL = 5e-3

# Standard errors within which a ball's volume must be estimated: a false alarm in 1.7 million tests.
BALL_STANDARD_ERRORS = 5.0

# Vmapped and looped evaluations sum the same products in another order: eps times the size of what is summed, and the
# longest sum of a row has a few dozen terms.
REORDERED = 400.0

# The sequential direction of autoregressive layers against full passes, relative to 1 + the largest value: a few
# hundred float32 sums in a row; float64 with nine more digits, of which conditioning costs two.
SEQUENTIAL = {"float32": 1e-4, "float64": 1e-11}

# Float32 values beyond it (257 coordinates: full passes themselves have an error of 1.5e-4 of a log-determinant of
# 1,300) may be this many times further from float64 than those of full passes: both are sums in different orders.
SEQUENTIAL_REFERENCE = 4.0
