"""Bad input of residual blocks and their networks: expressions, error classes, and parts of the messages."""

_MLP = "pf.networks.LipschitzMLP(2, width=4, depth=1, key=key, "
_CONV = "pf.networks.LipschitzConvNet"

RESIDUAL_CASES = {
    "no contraction": (_MLP + "lipschitz=1.0)", "ValueError", ("lipschitz", "between 0 and 1", "1.0")),
    "no Lipschitz activation": (
        _MLP + "lipschitz=0.9, activation='relu')",
        "ValueError",
        ("activation", "lipswish", "'relu'"),
    ),
    "no norm": (_MLP + "lipschitz=0.9, norms=(2, 3, 2))", "ValueError", ("norms", "3 numbers", "1, 2 and inf")),
    "norms that do not end where they begin": (
        _MLP + "lipschitz=0.9, norms=(1, 2, 2))",
        "ValueError",
        ("norms", "input norm of the first", "(1.0, 2.0)"),
    ),
    "Lipschitz network without its context": (
        _MLP + "lipschitz=0.9, context_size=3)(np.ones(2))",
        "ShapeError",
        ("context", "(3,)", "got none", "context="),
    ),
    "image without channels": (
        _CONV + "((4, 4), width=2, depth=1, lipschitz=0.9, key=key)",
        "ValueError",
        ("shape", "height, width, channels", "(4, 4)"),
    ),
    "kernels of another number": (
        _CONV + "((4, 4, 1), width=2, depth=1, lipschitz=0.9, kernel_sizes=(3,), key=key)",
        "ValueError",
        ("kernel_sizes", "2 sizes", "(3,)"),
    ),
    "series of no terms": ("B.PowerSeries(0)", "ValueError", ("n_terms", "at least 1", "0")),
    "unknown probe": ("B.PowerSeries(3, probe='sobol')", "ValueError", ("probe", "rademacher", "'sobol'")),
    "no probe": ("B.RussianRoulette(n_probes=0)", "ValueError", ("n_probes", "at least 1", "0")),
    "unknown distribution of roulette": (
        "B.RussianRoulette('zipf')",
        "ValueError",
        ("distribution", "geometric, poisson", "'zipf'"),
    ),
    "continuation of one": ("B.RussianRoulette(continuation=1.0)", "ValueError", ("continuation", "0 and 1", "1.0")),
    "rate of zero": ("B.RussianRoulette('poisson', rate=0.0)", "ValueError", ("rate", "positive", "0.0")),
    "fewer than no exact terms": ("B.RussianRoulette(n_exact=-1)", "ValueError", ("n_exact", "at least 0", "-1")),
    "more orthogonal probes than coordinates": (
        "B.Contractive(" + _MLP + "lipschitz=0.9), training=B.PowerSeries(3, probe='orthogonal', n_probes=5))",
        "ShapeError",
        ("n_probes", "at most 2", "5"),
    ),
    "random estimate without a key": (
        "B.PowerSeries(3)(" + _MLP + "lipschitz=0.9), np.ones(2), None, None)",
        "ValueError",
        ("key", "got none", "Exact()"),
    ),
    "Lipschitz bound above one": (
        "eqx.tree_at(lambda b: b.network.bound, B.Contractive("
        + _MLP
        + "lipschitz=0.9)), np.asarray(1.2)).inverse(np.ones(2))",
        "InverseError",
        ("Lipschitz bound", "1.2", "finalise"),
    ),
    "inverse of NaN": (
        "B.Contractive(" + _MLP + "lipschitz=0.9)).inverse(np.full(2, np.nan))",
        "InverseError",
        ("did not converge", "residual", "float64"),
    ),
    "error of one estimate": (
        "pf.residual_flow(dim=2, key=0, n_layers=2, width=4, depth=1).log_prob_with_error(np.ones(2), n_draws=1)",
        "ValueError",
        ("n_draws", "at least 2", "1"),
    ),
}
