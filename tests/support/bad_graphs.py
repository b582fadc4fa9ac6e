"""Bad input of dependence graphs, of stacks and of surgery: expressions, error classes, and parts of the messages."""

_FLOW = "pf.autoregressive_flow(3, key=0, n_layers=1, width=8, "

GRAPH_CASES = {
    "graph with a cycle": (
        "pf.networks.checked_adjacency(2, {0: [1], 1: [0]})", "ValueError", ("adjacency", "cycles", "depends on")
    ),
    "graph of another size": (
        "pf.networks.checked_adjacency(3, np.zeros((2, 2)))", "ShapeError", ("adjacency", "(3, 3)", "(2, 2)")
    ),
    "graph of weights": (
        "pf.networks.checked_adjacency(2, np.array([[0, 0], [0.5, 0]]))", "ValueError", ("adjacency", "bool", "0.5")
    ),
    "graph that lacks a name": (
        "pf.networks.checked_adjacency(3, {'a': [], 'b': ['a']})", "ShapeError", ("adjacency", "3 columns", "['a',")
    ),
    "graph whose parents are a word": (
        "pf.networks.checked_adjacency(2, {'a': [], 'b': 'a'})", "ValueError", ("adjacency", "a list", "'b'", "'a'")
    ),
    "graph with an unknown parent": (
        "pf.networks.checked_adjacency(2, {1: [2]})", "ValueError", ("adjacency", "[0, 1]", "got 2")
    ),
    "graph with few units": (
        "pf.networks.GraphMLP({1: [0], 2: [0, 1]}, (2, 3), width=1, key=key)", "ValueError", ("width", "at least")
    ),
    "graph network without parameters": (
        "pf.networks.GraphMLP({1: [0]}, 2, width=8, key=key)", "ShapeError", ("out_shape", "(P, D)", "got 2")
    ),
    "graph of the context alone": (
        f"{_FLOW}context_adjacency=np.ones((3, 1)))", "ValueError", ("context_adjacency", "adjacency=")
    ),
    "graph of a context that is not there": (
        f"{_FLOW}adjacency={{1: [0]}}, context_adjacency=np.ones((3, 1)))", "ValueError", ("context_adjacency", "None")
    ),
    "graph with an order": (
        f"{_FLOW}adjacency={{1: [0]}}, order='random')", "ValueError", ("order", "'reverse'", "adjacency=", "'random'")
    ),
    "graph that a stack would not keep": (
        "pf.autoregressive_flow(3, key=0, n_layers=2, width=8, adjacency={1: [0], 2: [1]})",
        "ValueError",
        ("n_layers", "coordinate 2", "coordinate 0", "allow_ancestors"),
    ),
    "layer of a stack that is not there": ("pf.nsf(2, n_layers=2, key=0).bijection.bijections[0][2]", "IndexError", (
        "index", "-2 to 1", "got 2"
    )),
    "base that is a word": ("pf.nice(2, key=0, base='normal')", "TypeError", ("base", "instance", "'normal'")),
    "layer to freeze that is no function": (
        "pf.freeze(pf.nice(2, key=0), pf.nice(2, key=0).layers[0])", "ValueError", ("where", "a function", "lambda f")
    ),
    "array to freeze that is computed": (
        "pf.freeze(pf.nice(2, key=0), lambda f: 2 * f.layers[1].network.weights[0])", "ValueError", ("computes",)
    ),
    "layers of an ensemble": (
        "pf.Ensemble([pf.nice(2, key=0, context_dim=1)]).given([0.0]).layers", "AttributeError", ("layers", "Flow")
    ),
    "ensemble of one flow": ("pf.Ensemble(pf.nice(2, key=0))", "TypeError", ("members", "a list", "got Flow")),
    "ensemble of numbers": ("pf.ensemble(lambda key: 3, 2, key=0)", "TypeError", ("members", "int at index 0")),
    "ensemble of nothing": ("pf.Ensemble([])", "ShapeError", ("members", "at least one")),
    "ensemble of unlike flows": (
        "pf.Ensemble([pf.nice(2, key=0, n_layers=2), pf.nice(2, key=0, n_layers=4)])",
        "ShapeError",
        ("members", "equal structure"),
    ),
}  # fmt: skip
