"""A clear error for every mistake of a user: the argument, what was expected, what came, and what to do.

The cases run in a separate interpreter, without the type checker that conftest.py installs, as for users. Each reports
where its error was raised, and the last test requires a case for every `raise` of the core.
"""

import ast
import functools
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from bad_arguments import ARGUMENT_CASES
from bad_graphs import GRAPH_CASES
from bad_images import IMAGE_CASES
from bad_networks import NETWORK_CASES
from bad_residual import RESIDUAL_CASES
from bad_spaces import SPACE_CASES
from bad_transformers import TRANSFORMER_CASES

SOURCE = Path(__file__).resolve().parent.parent / "src" / "pushforward"
CORE = (
    *(f"core/{name}.py" for name in (
        "bijection", "boundary", "chain", "circles", "conditional", "distribution", "flow", "flow_argument", "inverse",
        "repeat", "reshape", "split", "stacked", "standardise",
    )),
    "bijections", "networks", "recipes",
)  # fmt: skip
ELSEWHERE = ("recipes/of_length.py",)  # tested in tests/recipes/test_sequences.py

# case: (expression, error class, parts of the message). Expressions use the names of `scope`.
CASES = {
    # parameters with an axis too many
    "stacked base": (
        "jax.tree.map(lambda a: jnp.stack([a, a]), pf.bases.Normal((2,))).log_prob([0.0, 1.0])",
        "ShapeError",
        ("Normal", "shape (2,)", "(2, 2)", "parameters", "jax.vmap", "eqx.filter_vmap"),
    ),
    "stacked base that fails": (
        "jax.tree.map(lambda a: jnp.stack([a, a, a]), pf.bases.MultivariateNormal(2)).log_prob([0.0, 1.0])",
        "ShapeError",
        ("MultivariateNormal", "leading axis of size 3", "parameters", "jax.vmap"),
    ),
    # angles
    "network with raw angles as inputs": (
        "B.MaskedAutoregressive(B.CircularSpline(4), pf.networks.MaskedMLP(2, (13, 2), width=4, depth=1, key=key))",
        "ValueError",
        ("network", "cosine and sine", "CircularSpline", "PeriodicInputs(MaskedMLP"),
    ),
    "one feature of an angle": (
        "pf.networks.PeriodicInputs(pf.networks.MaskedMLP(2, (13, 2), width=4, depth=1, key=key))",
        "ShapeError",
        ("network", "n_features=2", "got 1"),
    ),
    "masked network of angles without PeriodicInputs": (
        "pf.networks.MaskedMLP(2, (2, 2), width=4, depth=1, n_features=2, key=key).solve(None, None, jnp.zeros(2))",
        "ShapeError",
        ("solve", "one feature", "PeriodicInputs"),
    ),
    "attention of angles without PeriodicInputs": (
        "pf.networks.CausalAttention(2, (2, 2), width=4, n_features=2, key=key).solve(None, None, jnp.zeros(2))",
        "ShapeError",
        ("solve", "one feature", "PeriodicInputs"),
    ),
    "coupling of angles with a mask of none": (
        "B.Coupling(B.CircularSpline(4), B.halves(2), network(2, (13, 1)), circular=np.zeros(2, bool))",
        "ShapeError",
        ("circular", "shape (2,)", "CircularSpline", "[False, False]"),
    ),
    "mixed angles": (
        "pf.coupling_flow(2, transformer=B.CircularSpline(), mixing='lu', key=0)",
        "ValueError",
        ("mixing", "permutation", "angles", "'lu'"),
    ),
    "whitened angles": (
        "pf.autoregressive_flow(2, transformer=B.CircularSpline(), whiten=True, key=0)",
        "ValueError",
        ("whiten", "angles", "True"),
    ),
    # one sample goes into a bijection
    "batch into a bijection": (
        "layer.forward(np.ones((5, 2)))",
        "ShapeError",
        ("one sample", "(2,)", "(5, 2)", "vmap"),
    ),
    "wrong event": ("layer.forward(np.ones(3))", "ShapeError", ("z of shape (2,)", "(3,)", "shape=(3,)")),
    "batch into a scalar": ("B.Affine().inverse(np.ones(4))", "ShapeError", ("x of shape ()", "(4,)", "vmap")),
    "unexpected context": (
        "layer.forward(np.ones(2), np.ones(1))",
        "ShapeError",
        ("unconditional", "(1,)", "leave it out"),
    ),
    "context missing": (
        "given.bijection.forward(np.ones(2))",
        "ShapeError",
        ("context", "(3,)", "got none", "context="),
    ),
    "context of wrong shape": (
        "given.bijection.forward(np.ones(2), np.ones(4))",
        "ShapeError",
        ("context", "(3,)", "(4,)", "Flow"),
    ),
    "contexts that differ": (
        "B.Chain([conditional(2), conditional(3)])",
        "ShapeError",
        ("contexts", "(2,)", "(3,)", "one context_shape"),
    ),
    # autoregressive layers and their networks
    "order that is no permutation": (
        "masked((0, 0, 1))",
        "ShapeError",
        ("ranks", "permutation of 0..2", "[0, 0, 1]"),
    ),
    "masked network without its context": (
        "masked(3, context_size=2)(np.ones(3))",
        "ShapeError",
        ("context", "(2,)", "none", "context="),
    ),
    "empty frames": (
        "pf.networks.CausalConvolution(3, (2, 3), width=4, depth=1, context_size=2, n_frames=0, key=key)",
        "ValueError",
        ("context_size, n_frames", "got 2 and 0", "at least one"),
    ),
    "frames that do not divide": (
        "pf.networks.CausalConvolution(5, (2, 5), width=4, depth=1, context_size=2, n_frames=4, key=key)",
        "ValueError",
        ("n_frames", "4 frames of 2 steps", "Choose another number"),
    ),
    "context of other frames": (
        "pf.networks.CausalConvolution(4, (2, 4), width=4, depth=1, context_size=2, n_frames=2, key=key)(np.ones(4), "
        "np.ones(2))",
        "ShapeError",
        ("context", "(2, 2)", "(2,)", "Pass context="),
    ),
    "frames of no context": (
        "pf.wavenet(4, n_frames=2, key=0)",
        "ValueError",
        ("n_frames", "got 2", "context_dim="),
    ),
    "heads that do not divide": (
        "pf.networks.CausalAttention(3, (2, 3), width=8, depth=1, n_heads=3, key=key)",
        "ValueError",
        ("n_heads", "8", "3"),
    ),
    "network for another transformer": (
        "B.MaskedAutoregressive('rational_quadratic', masked(3))",
        "ShapeError",
        ("network", "(23, 3)", "(2, 3)"),
    ),
    "unknown method": (
        "B.MaskedAutoregressive('affine', masked(3), method='fast')",
        "ValueError",
        ("method", "cached", "'fast'"),
    ),
    "negative tolerance": (
        "B.MaskedAutoregressive('affine', masked(3), tolerance=-1.0)",
        "ValueError",
        ("tolerance", "-1.0"),
    ),
    "Jacobi iterations that do not converge": (
        "one_iteration.forward_by_jacobi(np.ones(3))",
        "InverseError",
        ("converge", "max_iterations=1", "4 always"),
    ),
    "block network without units": (
        "B.BlockAutoregressive(2, n_units=0, key=key)",
        "ShapeError",
        ("n_units", "at least 1", "0"),
    ),
    "empty mixture": ("B.MixtureNormal(0)", "ValueError", ("n_components", "at least 1", "0")),
    "unknown conditioner": (
        "pf.autoregressive_flow(2, conditioner='rnn', key=0)",
        "ValueError",
        ("conditioner", "attention", "'rnn'"),
    ),
    "residual attention": (
        "pf.autoregressive_flow(2, conditioner='attention', residual=True, key=0)",
        "ValueError",
        ("residual", "False", "True"),
    ),
    "unknown order": ("pf.maf(2, order='zigzag', key=0)", "ValueError", ("order", "reverse", "'zigzag'")),
    # compositions
    "empty chain": ("B.Chain([])", "ShapeError", ("bijections", "at least one", "[]", "Reshape")),
    "chain of unlike shapes": ("B.Chain([layer, B.Affine()])", "ShapeError", ("bijections", "(2,)", "()", "Split")),
    "conditional twice": (
        "B.Conditional(given.bijection, network(3, (4,)), (3,))",
        "ShapeError",
        ("layer", "unconditional", "context"),
    ),
    "nothing to condition": (
        "B.Conditional(B.Permutation([1, 0]), network(3, (4,)), (3,))",
        "ShapeError",
        ("layer", "Permutation", "trained"),
    ),
    "conditional network": (
        "B.Conditional(layer, network(3, (5,)), (3,))",
        "ShapeError",
        ("network", "(4,)", "(5,)", "Elementwise"),
    ),
    "moments of wrong shape": (
        "B.Standardise((2,)).filled(np.ones(3), np.ones(2))",
        "ShapeError",
        ("mean, scale", "(2,)", "(3,)"),
    ),
    "scale of zero": (
        "B.Standardise((2,)).filled(np.ones(2), np.zeros(2))",
        "ValueError",
        ("mean, scale", "positive finite"),
    ),
    "empty repeat": ("B.Repeat([])", "ShapeError", ("layers", "at least one", "empty")),
    "repeat of unlike layers": (
        "B.Repeat([layer, B.Permutation([1, 0])])",
        "ShapeError",
        ("layers", "equal", "Permutation", "Use Chain"),
    ),
    "unroll": ("B.Repeat([layer], unroll=2)", "ValueError", ("unroll", "1 to the 1", "got 2")),
    "reshape": ("B.Reshape(layer, (3,))", "ShapeError", ("shape", "2 elements", "(3,)")),
    "squeeze": ("B.Squeeze(layer)", "ShapeError", ("inner", "squeezed image", "(2,)")),
    "split twice the same": (
        "B.Split(layer, [0, 0], (3,))",
        "ShapeError",
        ("part", "distinct indices below 3", "[0, 0]"),
    ),
    "split of wrong size": ("B.Split(layer, [0], (3,))", "ShapeError", ("inner", "(1,)", "(2,)")),
    # scalar bijections
    "vanishing scale": ("B.Affine(scale=0.0)", "ValueError", ("scale", "positive", "got 0.0", "singular")),
    "scale out of bounds": ("B.Affine(scale=1e3)", "ValueError", ("scale", "exp(+-5)", "1000.0")),
    "bound of scale": ("B.Affine(log_bound=0)", "ValueError", ("log_bound", "(0, 20]", "got 0", "singular")),
    "bound of tails": ("B.SinhArcsinh(log_bound=6)", "ValueError", ("log_bound", "(0, 5]", "got 6", "overflow")),
    "slope of zero": ("B.LeakyReLU(slope=0.0)", "ValueError", ("slope", "positive", "0.0", "not a bijection")),
    "one bin": ("B.RationalQuadraticSpline(1)", "ValueError", ("n_bins", "at least 2", "got 1", "Affine")),
    "empty box": ("B.RationalQuadraticSpline(bound=0)", "ValueError", ("bound", "positive", "got 0")),
    "minimal bins that fill the box": (
        "B.RationalQuadraticSpline(1000)",
        "ValueError",
        ("min_bin", "n_bins * min_bin < 1", "1000", "fewer bins"),
    ),
    "minimal slope": ("B.CircularSpline(min_slope=1.0)", "ValueError", ("min_slope", "(0, 1)", "1.0")),
    "slope ratio": ("B.CircularSpline(max_ratio=3)", "ValueError", ("max_ratio", "above 3", "got 3")),
    "unknown transformer": (
        "pf.coupling_flow(dim=2, key=0, transformer='rqs')",
        "ValueError",
        ("transformer", "affine", "rational_quadratic", "'rqs'"),
    ),
    "transformer that is a number": ("B.Elementwise(3, (2,))", "TypeError", ("transformer", "shape ()", "got 3")),
    "transformer with a shape": ("B.Elementwise(layer, (2,))", "ShapeError", ("transformer", "scalar", "(2,)")),
    "transformer with a context": (
        "B.Elementwise(B.Conditional(B.Affine(), network(3, (2,)), (3,)), (2,))",
        "ShapeError",
        ("transformer", "unconditional", "(3,)", "network"),
    ),
    "singular transformer": (
        "pf.coupling_flow(dim=2, key=0, transformer=FreeScale())",
        "ValueError",
        ("transformer", "FreeScale", "strictly increasing", "singular", "positive by construction"),
    ),
    # layers
    "mask of one value": (
        "B.Coupling('affine', np.ones(2, bool), network(1, (2, 1)))",
        "ShapeError",
        ("mask", "both True", "[1, 1]", "Elementwise"),
    ),
    "coupling's network": (
        "B.Coupling('affine', B.halves(2), network(1, (3, 1)))",
        "ShapeError",
        ("network", "(2, 1)", "2 parameters of Affine", "(3, 1)"),
    ),
    "checkerboard of a vector": ("B.checkerboard((4,))", "ShapeError", ("shape", "(H, W)", "(4,)")),
    "repeated index": (
        "B.Permutation([0, 0])",
        "ShapeError",
        ("order", "permutation of 0..D-1", "[0, 0]"),
    ),
    "no reflections": (
        "B.Householder(2, 0, key=key)",
        "ValueError",
        ("n_reflections", "at least 1", "got 0"),
    ),
    "unknown nonlinearity": (
        "B.Planar(2, nonlinearity='relu', key=key)",
        "ValueError",
        ("nonlinearity", "tanh, leaky_relu", "'relu'"),
    ),
    "more units than coordinates": (
        "B.Sylvester(B.Permutation([1, 0]), 3, key=key)",
        "ValueError",
        ("n_units", "1 to 2", "got 3"),
    ),
    "rotation that is none": (
        "B.Sylvester(B.Dense(2), key=key)",
        "ValueError",
        ("rotation", "Householder, Cayley or Permutation", "Dense"),
    ),
    "no rank": ("B.LowRank(2, rank=0, key=key)", "ValueError", ("rank", "at least 1", "got 0")),
    "whitening of another shape": (
        "B.Whiten(2).filled(np.zeros(2), np.eye(3))",
        "ShapeError",
        ("mean, factor", "(2, 2)", "(3, 3)"),
    ),
    "whitening by a singular matrix": (
        "B.Whiten(2).filled(np.zeros(2), np.diag([1.0, 0.0]))",
        "ValueError",
        ("mean, factor", "positive diagonal"),
    ),
    "no bins of a column": ("B.MarginalGaussianization(2, n_bins=0)", "ShapeError", ("dim, n_bins", "positive", "0")),
    "knots of another number of columns": (
        "B.MarginalGaussianization(2).filled(np.zeros((1, 3)), np.zeros((1, 3)))",
        "ShapeError",
        ("x_knots, z_knots", "(2, K + 1)", "(1, 3)"),
    ),
    "knots of two numbers": (
        "B.MarginalGaussianization(1).filled(np.arange(3.0)[None], np.arange(4.0)[None])",
        "ShapeError",
        ("x_knots, z_knots", "equal shapes", "(1, 3) and (1, 4)"),
    ),
    "knots that do not increase": (
        "B.MarginalGaussianization(1).filled(np.zeros((1, 3)), np.arange(3.0)[None])",
        "ValueError",
        ("x_knots, z_knots", "increase"),
    ),
    "regression of another shape": (
        "B.LinearRegression(2, 1).filled(np.zeros((1, 2)))",
        "ShapeError",
        ("coefficients", "(2, 1)", "(1, 2)"),
    ),
    "regression that is not finite": (
        "B.LinearRegression(2, 1).filled(np.full((2, 1), np.inf))",
        "ValueError",
        ("coefficients", "finite"),
    ),
    "convolutions of another depth": (
        "eqx.tree_at(lambda n: n.gate_weight, pf.networks.CausalConvolution(4, (2, 4), width=4, depth=1, key=key), "
        "jnp.zeros((2, 8, 8))).__check_init__()",
        "ShapeError",
        ("depth, cycle", "2 layers", "got 1 and 1"),
    ),
    "convolutions over another order": (
        "eqx.tree_at(lambda n: n.order, pf.networks.CausalConvolution(4, (2, 4), width=4, depth=1, key=key), "
        "jnp.arange(5)).__check_init__()",
        "ShapeError",
        ("n_ranks", "expected 5", "got 4"),
    ),
    "masked weights of other ranks": (
        "eqx.tree_at(lambda n: n.out_weight, pf.networks.MaskedMLP(2, (2, 2), width=4, depth=1, key=key), "
        "jnp.zeros((2, 5, 4))).__check_init__()",
        "ShapeError",
        ("n_ranks, n_features", "5 ranks", "got 2 and 1"),
    ),
    "regression with a limit of zero": (
        "B.LinearRegression(2, 1, limit=0.0)",
        "ValueError",
        ("limit", "positive", "0"),
    ),
    "cells of no column": (
        "B.ColumnMaps(['real'], cells=[(np.arange(3.0), np.ones(4))])",
        "ValueError",
        ("cells", "0 columns", "got 1"),
    ),
    "cells without shares": (
        "B.ColumnMaps(['cells'], cells=[(np.arange(3.0), np.ones(3))])",
        "ValueError",
        ("cells", "edges", "(3,)", "column 0"),
    ),
    "cells that do not increase": (
        "B.ColumnMaps(['cells'], cells=[(np.zeros(3), np.ones(4))])",
        "ValueError",
        ("cells", "increase", "column 0"),
    ),
    "prediction of order zero": ("B.LinearPrediction(4, 0)", "ValueError", ("order", "at least 1", "got 0")),
    "prediction by other coefficients": (
        "B.LinearPrediction(4, 2).filled(np.zeros(3), 1.0)",
        "ShapeError",
        ("coefficients, scale", "(2,)", "(3,)"),
    ),
    "prediction of scale zero": (
        "B.LinearPrediction(4, 1).filled(np.zeros(1), 0.0)",
        "ValueError",
        ("coefficients, scale", "positive scale"),
    ),
    "a sequence shorter than its dilations": (
        "pf.of_length(pf.wavenet(dim=40, key=0, width=2, depth=5), 16)",
        "ValueError",
        ("dim", "more than 16", "got 16"),
    ),
    "a network of sequences with other channels": (
        "pf.networks.CausalConvolution(4, (2, 4), width=2, depth=1, key=key).of_length(5, (2,))",
        "ShapeError",
        ("context_shape", "None", "(2,)"),
    ),
    "columns of an unknown kind": (
        "B.ColumnMaps(('real', 'odd'))",
        "ValueError",
        ("kinds", "positive", "'odd'", "column 1"),
    ),
    "columns whose ends are equal": (
        "B.ColumnMaps(('bounded',), lower=1.0, upper=1.0)",
        "ValueError",
        ("lower, upper", "in order", "1.0 and 1.0", "column 0"),
    ),
    "columns without a scale": ("B.ColumnMaps(('real',), scale=0.0)", "ValueError", ("scale", "positive", "column 0")),
    "columns of another width": (
        "B.ColumnMaps(('real', 'real'), lower=[1.0, 2.0, 3.0])",
        "ShapeError",
        ("lower", "(2,)", "(3,)"),
    ),
    "columns without an end": ("B.ColumnMaps(('real',), lower=np.inf)", "ValueError", ("lower", "finite", "inf")),
    "companding at no rate": ("B.Companding(0.0)", "ValueError", ("rate", "(0, 40]", "got 0.0", "speech")),
    "linear layer of dimension 0": ("B.PLU(0)", "ShapeError", ("dim", "at least 1", "got 0")),
    "linear layer without a minimal diagonal": (
        "B.PLU(2, min_diagonal=0.0)",
        "ValueError",
        ("min_diagonal", "(0, 1)", "singular"),
    ),
    # networks
    "network of width 0": ("network(2, (2,), width=0)", "ValueError", ("width", "at least 1", "got 0")),
    "unknown activation": ("network(2, (2,), activation='swish')", "ValueError", ("activation", "relu", "'swish'")),
    "dropout of rate 1": (
        "pf.networks.ResidualMLP(2, (2,), width=4, depth=1, dropout=1.0, key=key)",
        "ValueError",
        ("dropout", "[0, 1)", "1.0"),
    ),
    "network without its context": (
        "network(2, (2,), context_size=3)(np.ones(2))",
        "ShapeError",
        ("context", "(3,)", "got none", "context="),
    ),
    # recipes
    "no dimension": ("pf.nsf(dim=0, key=0)", "ValueError", ("dim", "at least 1", "got 0")),
    "half a layer": ("pf.nsf(dim=2, key=0, n_layers=1.5)", "ValueError", ("n_layers", "whole number", "1.5")),
    "empty context": ("pf.nsf(dim=2, key=0, context_dim=0)", "ValueError", ("context_dim", "at least 1", "got 0")),
    "unknown mixing": ("pf.nsf(dim=2, key=0, mixing='qr')", "ValueError", ("mixing", "permutation, lu", "'qr'")),
    "dropout that has no effect": ("pf.nsf(dim=2, key=0, dropout=0.5)", "ValueError", ("dropout", "residual=True")),
    "bins that are a string": ("pf.nsf(dim=2, key=0, n_bins='8')", "ValueError", ("n_bins", "'8'")),
    "half a bin": ("pf.nsf(dim=2, key=0, n_bins=8.5)", "ValueError", ("n_bins", "8.5")),
    "key that is a string": ("pf.nsf(dim=2, key='a')", "TypeError", ("key", "int or a JAX key", "'a'")),
    # flows
    "base of another shape": (
        "pf.nsf(dim=2, key=0, base=pf.bases.Normal((3,)))",
        "ShapeError",
        ("base", "(2,)", "(3,)"),
    ),
    "flow of two contexts": (
        "pf.Flow(pf.real_nvp(dim=2, key=0, context_dim=1), given.bijection)",
        "ShapeError",
        ("base, bijection", "one context shape", "(1,)", "(3,)"),
    ),
    "embedding without a shape": (
        "pf.Flow(pf.bases.Normal((2,)), given.bijection, embed=network(5, (3,)))",
        "ShapeError",
        ("context_shape", "embed", "got none"),
    ),
    "context shape without an embedding": (
        "pf.Flow(pf.bases.Normal((2,)), layer, context_shape=(3,))",
        "ShapeError",
        ("context_shape", "(3,)"),
    ),
    "context of a flow and its parts": (
        "eqx.tree_at(lambda f: f.bijection, given, layer).__check_init__()",
        "ShapeError",
        ("context_shape", "its parts", "[]", "(3,)"),
    ),
    "context and its scaling": (
        "eqx.tree_at(lambda f: f.context_scaling, given, B.Standardise((1,))).__check_init__()",
        "ShapeError",
        ("context_scaling", "(3,)", "(1,)"),
    ),
    "given without a context": ("flow.given(np.ones(1))", "ShapeError", ("given", "unconditional")),
    "given of a batch": ("given.given(np.ones((2, 3)))", "ShapeError", ("context", "(3,)", "(2, 3)")),
    "given NaN": ("given.given([np.nan, 0.0, 0.0])", "DataError", ("context", "finite", "nan")),
    # the boundary
    "event of wrong shape": ("flow.log_prob(np.ones((4, 3)))", "ShapeError", ("x", "(..., 2)", "(4, 3)")),
    "one dimension": ("line.log_prob(np.ones(4))", "ShapeError", ("x", "(..., 1)", "(4,)", "np.asarray(x)[:, None]")),
    "boundary: unexpected context": (
        "flow.log_prob(np.ones(2), np.ones(3))",
        "ShapeError",
        ("context", "(3,)", "context_dim"),
    ),
    "boundary: context missing": ("given.log_prob(np.ones(2))", "ShapeError", ("context", "(..., 3)", "Pass context=")),
    "boundary: context of wrong shape": (
        "given.log_prob(np.ones(2), np.ones(4))",
        "ShapeError",
        ("context", "(..., 3)", "(4,)"),
    ),
    "rows that do not pair": (
        "given.log_prob(np.ones((5, 2)), np.ones((4, 3)))",
        "ShapeError",
        ("x", "context", "(5,)", "(4,)"),
    ),
    "NaN in x": ("flow.log_prob([[0.0, np.nan]])", "DataError", ("x", "finite", "nan", "row 0", "column 1", "Remove")),
    "number beyond float32": ("flow.log_prob([[0.0, 1e39]])", "DataError", ("x", "1e+39")),
    "text": ("flow.log_prob([['a', 'b']])", "DataError", ("x", "real numbers", "<U1")),
    "complex numbers": ("flow.log_prob(np.ones((2, 2), complex))", "DataError", ("x", "real numbers", "complex128")),
    "ragged rows": ("flow.log_prob([[1.0, 2.0], [3.0]])", "DataError", ("x",)),
    "log_prob of a broken flow": (
        "broken.log_prob([[1.0, 1.0]])",
        "NumericError",
        ("log_prob is NaN", "1 of 1", "row 0", "check"),
    ),
    "broken sample": ("broken.sample(3, key=0)", "NumericError", ("3 of 3 samples", "row 0", "check")),
    "number of samples": ("flow.sample(-1, key=0)", "ValueError", ("n", "0 or more", "-1")),
    "fractional number of samples": ("flow.sample(2.5, key=0)", "ValueError", ("n", "number of samples", "2.5")),
    "key of samples": ("flow.sample(2, key=1.5)", "TypeError", ("key", "int or a JAX key", "1.5")),
    **ARGUMENT_CASES,
    **TRANSFORMER_CASES,
    **IMAGE_CASES,
    **NETWORK_CASES,
    **GRAPH_CASES,
    **SPACE_CASES,
    **RESIDUAL_CASES,
}


def scope():
    """The names for the expressions."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import numpy as np

    import pushforward as pf
    from pushforward import bijections as B

    class FreeScale(B.AbstractScalarBijection):
        theta: jax.Array

        def __init__(self):
            self.theta = jnp.ones(())

        def forward_and_log_det(self, z, context=None, *, key=None):
            return z * self.theta, jnp.log(jnp.abs(self.theta)) + jnp.zeros_like(z)

        def inverse_and_log_det(self, x, context=None, *, key=None):
            return x / self.theta, -jnp.log(jnp.abs(self.theta)) + jnp.zeros_like(x)

    key, small = jax.random.key(0), {"n_layers": 2, "width": 4, "depth": 1}

    def network(*sizes, **options):
        return pf.networks.MLP(*sizes, **{"width": 4, "depth": 1, "key": key, **options})

    def masked(ranks, **options):
        out_shape = (2, ranks if isinstance(ranks, int) else len(ranks))
        return pf.networks.MaskedMLP(ranks, out_shape, **{"width": 4, "depth": 1, "key": key, **options})

    def conditional(size):
        return B.Conditional(layer, network(size, (4,)), (size,))

    layer = B.Elementwise(B.Affine(), (2,))
    broken = eqx.tree_at(lambda b: b.parameters, layer, jnp.full((2, 2), jnp.nan))
    normal = pf.bases.Normal
    return {
        "np": np, "pf": pf, "B": B, "key": key, "layer": layer, "network": network, "conditional": conditional,
        "masked": masked, "one_iteration": B.MaskedAutoregressive("affine", masked(3), max_iterations=1),
        "FreeScale": FreeScale, "flow": pf.Flow(normal((2,)), layer),
        "line": pf.elementwise_flow(dim=1, key=0),
        "given": pf.real_nvp(dim=2, context_dim=3, key=0, **small), "broken": pf.Flow(normal((2,)), broken),
        "eqx": eqx, "jax": jax, "jnp": jnp,
    }  # fmt: skip


def run_all():
    """For every case: the error's class and its bases, its message, and the lines of the traceback."""
    names, errors = scope(), {}
    for name, (expression, _, _) in CASES.items():
        try:
            eval(expression, dict(names))  # noqa: S307
            errors[name] = {"classes": [], "message": "no error", "lines": []}
        except Exception as error:  # noqa: BLE001
            frames = traceback.extract_tb(error.__traceback__)
            errors[name] = {
                "classes": [base.__name__ for base in type(error).__mro__],
                "message": str(error),
                "lines": [[frame.filename, frame.lineno] for frame in frames],
            }
    return errors


@functools.cache
def outcomes():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}  # with tests/support
    command = [sys.executable, __file__]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", CASES)
def test_bad_input_raises_a_clear_error(name):
    _, expected, parts = CASES[name]
    error = outcomes()[name]
    assert expected in error["classes"], f"{error['classes'][:1]}: {error['message']}"
    missing = [part for part in parts if part not in error["message"]]
    assert not missing, f"{missing} not in: {error['message']}"


def test_every_raise_has_a_case():
    reached = {(str(Path(file).resolve()), line) for error in outcomes().values() for file, line in error["lines"]}
    files = [
        path for name in CORE for path in ([SOURCE / name] if name.endswith(".py") else (SOURCE / name).rglob("*.py"))
    ]
    without_case = []
    for path in sorted(set(files) - {SOURCE / name for name in ELSEWHERE}):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise):
                lines = range(node.lineno, node.end_lineno + 1)
                if not any((str(path.resolve()), line) in reached for line in lines):
                    without_case.append(f"{path.relative_to(SOURCE)}:{node.lineno}: {ast.unparse(node)[:90]}")
    assert not without_case, "\n".join(without_case)


if __name__ == "__main__":
    print(json.dumps(run_all()))
