"""Mistakes with networks and activations of one's own; see test_bad_input.py."""

_IDENTITY = "lambda x, context=None, *, key=None: jnp.stack([x, x])"
_FACTORY = f"lambda ranks, out_shape, *, context_size, key: {_IDENTITY}"

NETWORK_CASES = {
    "activation that is a number": (
        "network(2, (2, 2), activation=3)",
        "ValueError",
        ("activation", "a name", "got 3"),
    ),
    "activation that is not element-wise": (
        "network(2, (2, 2), activation=jnp.sum)",
        "ValueError",
        ("activation", "element-wise", "(2, 3)", "scalars"),
    ),
    "activation that normalises": (
        "network(2, (2, 2), activation=lambda x: x - x.mean())",
        "ValueError",
        ("activation", "element-wise", "several outputs"),
    ),
    "activation along an axis": (
        "network(2, (2, 2), activation=lambda x: jnp.sort(x))",
        "ValueError",
        ("activation", "element-wise", "shape ()"),
    ),
    "size that is an array": (
        "pf.maf(3, network=pf.networks.MLP, key=0)",
        "ValueError",
        ("in_size", "whole number", "array([0, 1, 2])"),
    ),
    "network without a context size": (
        "pf.nsf(2, network=lambda in_size, out_shape: None, key=0)",
        "ValueError",
        ("network", "context_size=..., key=...", "unexpected keyword"),
    ),
    "network of another input": (
        "pf.nsf(2, network=lambda i, o, *, context_size, key: network(i + 1, o), key=0)",
        "ShapeError",
        ("network", "shape (1,)", "context of shape None", "MLP raised TypeError"),
    ),
    "default network that starts at the identity": (
        "pf.nsf(2, start_at_identity=True, key=0)",
        "ValueError",
        ("start_at_identity", "False", "network="),
    ),
    "network of another size in a gate": (
        "pf.networks.ZeroInitialised(jnp.tanh, (3, 2))(jnp.ones(2))",
        "ShapeError",
        ("network", "(3, 2)", "6 numbers", "(2,)"),
    ),
    "Equinox network of another size": (
        "B.Coupling('affine', B.halves(3), eqx.nn.MLP(1, 3, 4, 1, key=key))",
        "ShapeError",
        ("network", "(2, 2)", "2 parameters of Affine", "got (3,)"),
    ),
    "network that is no function": (
        "B.Coupling('affine', B.halves(3), np.ones(3))",
        "ValueError",
        ("network", "called as network(x, context, key=...)", "got array"),
    ),
    "context that cannot be appended": (
        "B.ImageCoupling('affine', jnp.tanh, (2, 2, 2), context_shape=(3, 2))",
        "ShapeError",
        ("network", "second argument", "(3, 2)", "(2, 2, 1)"),
    ),
    "masked network of other coordinates": (
        "pf.networks.MaskedMLP(3, (2, 4), width=4, key=key)",
        "ShapeError",
        ("out_shape", "(P, 3)", "(2, 4)"),
    ),
    "masked network of a number of parameters": (
        "pf.networks.MaskedMLP(3, 2, width=4, key=key)",
        "ShapeError",
        ("out_shape", "(P, 3)", "got 2"),
    ),
    "convolutions from one image size to another": (
        "pf.networks.ConvNet((4, 4, 1), (2, 2, 1), key=key)",
        "ShapeError",
        ("in_shape, out_shape", "same H and W", "(2, 2, 1)"),
    ),
    "contraction to another shape": (
        "pf.networks.LipschitzMLP(2, (3,), width=4, depth=1, key=key)",
        "ShapeError",
        ("out_shape", "(2,)", "(3,)"),
    ),
    "order of a block layer": (
        "B.BlockAutoregressive(2, order=(0, 0), key=key)",
        "ShapeError",
        ("order", "permutation of 0..1", "[0, 0]"),
    ),
    "cached without solve": (
        f"B.MaskedAutoregressive('affine', {_IDENTITY}, ranks=2, method='cached')",
        "ValueError",
        ("method", "'sequential' or 'jacobi'", "no method `solve`"),
    ),
    "network without ranks": (f"B.MaskedAutoregressive('affine', {_IDENTITY})", "ValueError", ("ranks", "got None")),
    "ranks that are numbers": (
        f"B.MaskedAutoregressive('affine', {_IDENTITY}, ranks=(0.0, 1.0))",
        "ShapeError",
        ("ranks", "(D,) integers", "(0.0, 1.0)"),
    ),
    "ranks of another order": (
        "B.MaskedAutoregressive('affine', masked(3), ranks=(2, 1, 0))",
        "ValueError",
        ("ranks", "MaskedMLP, [0, 1, 2]", "[2, 1, 0]", "Leave them out"),
    ),
    "network that breaks the order": (
        f"pf.maf(2, network={_FACTORY}, key=0)",
        "ValueError",
        ("network", "output 0 (rank 0) depends on input 0 (rank 0)", "Mask it"),
    ),
    "network instead of a factory": (
        "pf.nsf(2, network=network(1, (2, 1)), key=0)",
        "ValueError",
        ("network", "a function that makes", "got a MLP", "functools.partial"),
    ),
    "network with a width": (
        "pf.nsf(2, network=pf.networks.MLP, width=128, key=0)",
        "ValueError",
        ("width", "default 64", "network=", "got 128", "functools.partial"),
    ),
    "network of a default activation": (
        "pf.i_resnet(2, network=pf.networks.LipschitzMLP, activation='lipswish', key=0)",
        "ValueError",
        ("activation", "default 'elu'", "'lipswish'"),
    ),
    "network without a context": (
        "pf.planar_flow(2, network=pf.networks.MLP, key=0)",
        "ValueError",
        ("network", "context_dim=", "MLP"),
    ),
    "networks of unlike structure": (
        "pf.nsf(2, network=lambda i, o, *, context_size, key: network(i, o, activation=lambda x: x), key=0)",
        "ShapeError",
        ("network", "lambda inside network=", "define it outside", "Coupling"),
    ),
    "network without a bound": (
        "pf.residual_flow(2, network=pf.networks.MLP, key=0)",
        "ValueError",
        ("network", "AbstractLipschitzNetwork", "contraction", "got a MLP"),
    ),
    "contraction of another size": (
        "pf.residual_flow(2, network=lambda *_, key, **__: pf.networks.LipschitzMLP(3, key=key), key=0)",
        "ShapeError",
        ("network", "shape (2,)", "(3,)"),
    ),
    "network of angles as numbers": (
        "pf.autoregressive_flow(2, transformer=B.CircularSpline(4), network=pf.networks.MaskedMLP, key=0)",
        "ValueError",
        ("network", "cosine and sine", "PeriodicInputs(MaskedMLP"),
    ),
}
