"""Bad input of spaces: expressions, error classes, and parts of the messages."""

_INNER = (
    "B.MaskedAutoregressive('affine', pf.networks.MaskedMLP(2, (2, 2), width=4, depth=1, context_size=1, key=key), "
    "context_shape=(1,))"
)
_MASK = "np.array([True, False, True])"

SPACE_CASES = {
    "space that is a word": ("pf.space_flow('circle', key=0)", "ValueError", ("space", "one entry", "'circle'")),
    "space of nothing": ("pf.space_flow([], key=0)", "ValueError", ("space", "one entry", "[]")),
    "unknown coordinate": (
        "pf.space_flow(['circle', 'sphere'], key=0)", "ValueError", ("space", "'positive'", "'sphere'", "coordinate 1")
    ),
    "interval whose ends are exchanged": (
        "pf.space_flow([(1, 0)], key=0)", "ValueError", ("space", "low < high", "(1, 0)", "coordinate 0")
    ),
    "interval without an end": (
        "pf.space_flow([(0, None)], key=0)", "ValueError", ("space", "(low, high)", "(0, None)", "coordinate 0")
    ),
    "unknown kind of space flow": (
        "pf.space_flow(['circle'], kind='planar', key=0)", "ValueError", ("kind", "autoregressive", "'planar'")
    ),
    "split without a rest": (
        f"B.ConditionalSplit({_INNER}, np.ones(2, bool))", "ShapeError", ("mask", "True and False", "[True, True]")
    ),
    "split of another size": (
        f"B.ConditionalSplit({_INNER}, np.array([True, False]))", "ShapeError", ("inner", "(1,)", "got (2,)")
    ),
    "split with angles of another size": (
        f"B.ConditionalSplit({_INNER}, {_MASK}, circular=np.zeros(2, bool))", "ShapeError", ("circular", "(3,)")
    ),
    "split whose context does not fit": (
        f"B.ConditionalSplit({_INNER}, {_MASK}, context_shape=(2,))", "ShapeError", ("inner", "(3,)", "got (1,)")
    ),
    "split whose angles are not known": (
        "B.ConditionalSplit(B.Coupling(B.CircularSpline(4), np.array([True, False]), lambda x, context: "
        "jnp.zeros((B.n_parameters(B.CircularSpline(4)), 1)), context_shape=(1,), circular=np.array([True, False])), "
        "np.array([True, True, False]))",
        "ShapeError", ("circular", "bool array", "angles", "None"),
    ),
    "heights without angles": ("B.to_sphere(np.ones(3))", "ShapeError", ("x", "(..., 2)", "(3,)")),
    "vector of length zero": ("B.from_sphere(np.zeros(3))", "ValueError", ("vectors", "positive length")),
    "vectors of the plane": ("B.from_sphere(np.ones(2))", "ShapeError", ("vectors", "(..., 3)", "(2,)")),
}  # fmt: skip
