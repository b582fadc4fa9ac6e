"""What compiled programs are passed."""

from pathlib import Path

import jax
import numpy as np
import pytest

import pushforward as pf
from pushforward.bijections import Repeat
from pushforward.numerics import programs


@pytest.mark.parametrize(
    ("flow", "is_cut"),
    [
        (lambda: pf.maf(2, n_layers=3, width=8, key=0), True),
        (lambda: pf.real_nvp(2, n_layers=3, width=8, key=0), True),
        (lambda: pf.nsf(2, n_layers=3, width=8, key=0), False),  # a loop slices its stacks anyway
        (lambda: pf.maf(2, n_layers=1, width=8, key=0), False),
        (lambda: pf.maf(2, n_layers=3, width=256, key=0), False),  # slices cost little compared with such products
        (lambda: pf.ensemble(lambda key: pf.maf(2, n_layers=3, width=8, key=key), 3, key=0), False),
    ],
    ids=["maf", "real_nvp", "nsf", "one layer", "wide", "ensemble"],
)
def test_matrices_of_small_unrolled_stacks_are_passed_by_layer(flow, is_cut):
    module = programs.CompiledModule(flow())
    cut = [leaf for leaf in module.by_layer if isinstance(leaf, tuple)]
    assert bool(cut) is is_cut
    assert all(len(leaf) == 3 and leaf[0].ndim >= 2 for leaf in cut)
    for leaf, expected in zip(programs._stacked(module.by_layer), module.arrays, strict=True):
        np.testing.assert_array_equal(leaf, expected)
        assert leaf.dtype == expected.dtype


def test_scores_are_those_of_the_stacks():
    flow, x = pf.maf(2, n_layers=3, width=8, key=0), np.random.default_rng(0).standard_normal((64, 2))
    np.testing.assert_allclose(flow.log_prob(x), jax.jit(lambda x: flow.log_prob(x))(x), rtol=1e-5)


@pytest.mark.parametrize("weights", ["jax", "numpy"])
def test_first_call_inside_jit_leaves_nothing_traced(weights):
    """Neither with the caller's own modules, which have no NumPy leaf, nor with NumPy weights alone."""
    flow = pf.maf(2, n_layers=3, width=8, key=0)
    flow = pf.Flow(flow.base, next(part for part in flow.bijection.bijections if isinstance(part, Repeat)))
    flow, x = jax.device_get(flow) if weights == "numpy" else flow, np.ones((4, 2), np.float32)
    inside = jax.jit(lambda x: flow.log_prob(x))(x)
    np.testing.assert_allclose(flow.log_prob(x), inside, rtol=1e-5)


@pytest.mark.parametrize(
    ("build", "has_options"),
    [
        (lambda: pf.glow((4, 4, 1), key=0, n_scales=1, n_layers=1, width=4), True),
        (lambda: pf.maf(2, n_layers=2, width=4, key=0), False),
    ],
    ids=["image", "rows"],
)
def test_training_of_images_alone_is_compiled_with_options(build, has_options, monkeypatch):
    seen = []

    def options(*shapes):
        seen.append(any(shape is not None and len(shape) > 2 for shape in shapes))
        return {}

    monkeypatch.setattr(programs, "compiler_options", options)
    flow = build()
    pf.fit_target(flow, lambda x: -(x**2).sum(), key=0, steps=1, batch_size=2)
    assert set(seen) == {has_options}


def test_every_compiled_module_says_its_shapes():
    """Else the options for images are lost. The optimiser's initial state is no module."""
    sources = Path(programs.__file__).parents[1].rglob("*.py")
    decorators = [
        (path.name, line) for path in sources for line in path.read_text().splitlines() if line.startswith("@compiled(")
    ]
    assert len(decorators) > 5
    assert [name for name, line in decorators if "shapes_of" not in line] == ["state.py"]
