"""Bad input of transformers: expressions, error classes, and parts of the messages, for test_bad_input.py."""

TRANSFORMER_CASES = {
    "spline of one bin": ("B.QuadraticSpline(1)", "ValueError", ("n_bins", "at least 2", "1")),
    "spline of a negative box": ("B.CubicSpline(8, bound=-1.0)", "ValueError", ("bound", "half-width", "-1.0")),
    "spline of too many bins": ("B.LinearSpline(1000)", "ValueError", ("n_bins * min_bin", "1000 * 0.001")),
    "spline of minimal slope 2": (
        "B.LinearRationalSpline(4, min_slope=2.0)",
        "ValueError",
        ("min_slope", "(0, 1)", "2.0"),
    ),
    "polynomial of an infinite box": ("B.Bernstein(4, bound=np.inf)", "ValueError", ("bound", "half-width", "inf")),
    "polynomial that is a line": ("B.Bernstein(1)", "ValueError", ("degree", "at least 2", "1")),
    "polynomial of too high a degree": ("B.Bernstein(2000)", "ValueError", ("min_share", "2000 * 0.001")),
    "no squares": ("B.SumOfSquares(4, n_squares=0)", "ValueError", ("n_squares", "at least 1", "0")),
    "polynomial of minimal slope 0": ("B.SumOfSquares(min_slope=0.0)", "ValueError", ("min_slope", "(0, 1)", "0.0")),
    "no sigmoids": ("B.Sigmoidal(0)", "ValueError", ("n_units", "at least 1", "0")),
    "integral of one point": ("B.MonotoneIntegral(n_points=1)", "ValueError", ("n_points", "2", "1")),
}
