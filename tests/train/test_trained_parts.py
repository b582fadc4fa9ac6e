"""Parts of a flow that training leaves unchanged: masks over the layers of a `Repeat`, over entries of an array."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from fitting import data, trained_numbers
from sampling import quick_few

import pushforward as pf
from pushforward.bijections import Affine, Chain, Elementwise, Repeat, Standardise
from pushforward.train.checks import trained_flags
from pushforward.train.optimizer import update_rule
from pushforward.train.state import init_state

QUIET = {"key": 0, "progress": False}
DECAY = optax.adamw(1e-2, weight_decay=0.5)


def flow():
    """Three layers, all of whose parameters are not zero, so that weight decay moves them."""
    layers = [Elementwise(Affine(), (2,)) for _ in range(3)]
    start = pf.Flow(pf.bases.Normal((2,)), Chain([Repeat(layers), Standardise((2,))]))
    return jax.tree.map(lambda leaf, flag: leaf + 0.123 if flag else leaf, start, pf.trainable(start))


def log_density(x):
    return -jnp.sum(x**2) / 2


@pytest.mark.parametrize("optimizer", [None, DECAY], ids=["default", "weight decay"])
@pytest.mark.parametrize("objective", quick_few(("fit", "fit_target", "distill"), "fit", "fit_target"))
def test_frozen_layers_keep_their_bits(objective, optimizer):
    """Of a stack, in the average of the weights too; the other layer moves, in all its parameters."""
    start = flow()
    options = {"trainable": pf.freeze(start, lambda f: f.layers[:2]), "optimizer": optimizer, "batch_size": 50, **QUIET}
    options |= {"ema": 0.9 if optimizer is None else None}
    few = {"steps": 10, "annealing": 0.0}
    end = {
        "fit": lambda: pf.fit(start, data(100), validation=0, max_epochs=1, **options)[0],
        "fit_target": lambda: pf.fit_target(start, log_density, n_importance=2, **few, **options)[0],
        "distill": lambda: pf.distill(
            pf.bases.Normal((2,)), start, n_fidelity=100, tolerance=1e3, forward=1.0, **few, **options
        )[0],
    }[objective]()
    for index in range(3):
        parts = zip(trained_numbers(start.layers[index]), trained_numbers(end.layers[index]), strict=True)
        is_same = [np.array_equal(before, after) for before, after in parts]
        assert is_same
        assert all(is_same) if index < 2 else not any(is_same)


def test_frozen_entries_do_not_clip_the_gradient():
    """The path derivative of the shift is shift - mean, exactly; that of the frozen entry is far beyond the bound."""
    mean, start = jnp.array([0.1, 1000.0]), pf.Flow(pf.bases.Normal((2,)), pf.bijections.Diagonal(2))
    first = pf.freeze_all_but(start, lambda f: f.bijection.bias[0])
    end, _ = pf.fit_target(
        start, lambda x: -jnp.sum((x - mean) ** 2) / 2, trainable=first, optimizer=optax.sgd(1.0), clip=1.0,
        ema=None, steps=1, annealing=0.0, n_importance=2, **QUIET,
    )  # fmt: skip
    np.testing.assert_allclose(end.bijection.bias, [0.1, 0.0], rtol=1e-5)


def test_masks_that_say_the_same_for_a_whole_array_are_flags():
    start = flow()
    whole = pf.trainable(start)
    as_arrays = jax.tree.map(lambda flag, leaf: np.full(np.shape(leaf), flag), whole, start)
    assert trained_flags(start, as_arrays) == trained_flags(start, whole)
    state_of = lambda chosen: init_state(start, trained_flags(start, chosen), RULE, jax.random.key(0))  # noqa: E731
    first, second = (state_of(pf.freeze(start, lambda f, i=i: f.layers[i])) for i in range(2))
    assert first[0] == second[0]  # one program for every choice of layers
    assert first[0] != state_of(whole)[0]
    assert [leaf.shape for leaf in first[1].frozen] == [leaf.shape for leaf in second[1].frozen]


RULE = update_rule(None, 5.0, None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda flag, leaf: np.ones(5, bool),
            r"bools that broadcast to .* got shape \(5,\) at \.base",
        ),
        (lambda flag, leaf: 1.0, r"tree of bools or of arrays of bools, got float at \.base"),
        (lambda flag, leaf: np.ones(np.shape(leaf)), "got an array of float64 at"),
        (lambda flag, leaf: True, r"expected False for an array of bool, got True at .*is_filled"),
        (lambda flag, leaf: np.zeros(np.shape(leaf), bool), "at least one trained array"),
    ],
)
def test_wrong_masks_are_refused(change, message):
    with pytest.raises(ValueError, match=f"trainable: .*{message}"):
        trained_flags(flow(), jax.tree.map(change, pf.trainable(flow()), flow()))


@pytest.mark.slow
def test_certified_norms_leave_frozen_layers_unchanged():
    """`finalise` scales weights whose norm is too large, but not those that are frozen; the stored bound fits them."""
    start = pf.i_resnet(dim=2, n_layers=2, width=4, key=0)
    start = jax.tree.map(lambda leaf, flag: leaf * 3 if flag and leaf.ndim == 3 else leaf, start, pf.trainable(start))
    chosen = pf.freeze(start, lambda f: (f.layers[0], f.layers[1]))
    end, _ = pf.fit(start, data(100), trainable=chosen, validation=0, max_epochs=1, **QUIET)
    for index in range(4):
        parts = zip(trained_numbers(start.layers[index]), trained_numbers(end.layers[index]), strict=True)
        is_same = [np.array_equal(before, after) for before, after in parts]
        assert all(is_same) if index < 2 else not all(is_same)
    assert pf.check(end).ok


def test_an_optimiser_of_pairs_is_refused():
    with pytest.raises(ValueError, match=r"optimizer: .*optax\.lookahead, .* is not supported: `ema` averages"):
        pf.fit(flow(), data(100), optimizer=optax.lookahead(optax.sgd(0.1), 5, 0.5), batch_size=50, **QUIET)
