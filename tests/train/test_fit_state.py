"""Maximum likelihood: state of layers besides weights, and when `fit` updates it. Flows are tiny."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fitting import Brittle, data, fit, same

import pushforward as pf
from pushforward.bijections import Chain, Conditional, Elementwise, Repeat, Standardise
from pushforward.bijections.scalar import Affine
from pushforward.core.bijection import AbstractBijection
from pushforward.core.fields import frozen
from pushforward.core.state import finalise, initialise_layers, refresh
from pushforward.errors import ShapeError
from pushforward.networks import MLP


class Stateful(AbstractBijection):
    """x = z + start + shift: `start` is the mean of the rows at initialisation, `rounds` counts refreshes."""

    shift: jax.Array
    start: jax.Array = frozen()
    rounds: jax.Array = frozen()
    sealed: jax.Array = frozen()
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: None = eqx.field(static=True)

    def __init__(self, dim=2):
        self.shift, self.start = jnp.zeros(dim), jnp.zeros(dim)
        self.rounds, self.sealed = jnp.zeros(()), jnp.zeros(())
        self.shape, self.context_shape = (dim,), None

    def initialised(self, x, context):
        return eqx.tree_at(lambda s: s.start, self, jnp.asarray(x.mean(0), self.start.dtype))

    def refreshed(self):
        return eqx.tree_at(lambda s: s.rounds, self, self.rounds + 1)

    def finalised(self):
        return eqx.tree_at(lambda s: s.sealed, self, self.rounds)

    def forward_and_log_det(self, z, context=None, *, key=None):
        return z + self.start + self.shift, jnp.zeros((), z.dtype)

    def inverse_and_log_det(self, x, context=None, *, key=None):
        return x - self.start - self.shift, jnp.zeros((), x.dtype)


def stateful():
    return Chain([Repeat([Stateful(), Stateful()]), Elementwise(Affine(), (2,)), Stateful(), Standardise((2,))])


def test_initialise_starts_at_the_outermost_layer():
    x = data(100) + 7
    start = initialise_layers(stateful(), x)
    repeat, _, outer, units = start.bijections
    assert np.allclose(units.mean, x.mean(0), rtol=0, atol=1e-12)
    assert np.abs(outer.start).max() < 1e-6  # its input is standardised
    assert np.abs(repeat.layers.start).max() < 1e-6
    # without standardisation the outermost layer gets the mean, and the inner ones centred rows
    bare = initialise_layers(Chain(stateful().bijections[:3]), x)
    assert np.allclose(bare.bijections[2].start, x.mean(0), atol=1e-5)
    assert np.abs(bare.bijections[0].layers.start).max() < 1e-5
    repeated = initialise_layers(Repeat([Stateful(), Stateful()]), x)
    assert np.allclose(repeated.layers.start[1], x.mean(0), atol=1e-5)
    assert np.abs(repeated.layers.start[0]).max() < 1e-5


def test_initialise_refuses_stateful_layers_inside_an_inverse():
    scaled = Conditional(Elementwise(Affine(), (2,)), MLP(1, (4,), width=4, depth=1, key=jax.random.key(0)), (1,))
    assert initialise_layers(scaled, data(5), data(5)[:, :1]) is scaled
    with pytest.raises(ShapeError, match="Inverse holds a layer that is initialised from data"):
        initialise_layers(pf.bijections.Inverse(Stateful()), data(5))


def test_refresh_and_finalise_reach_every_layer_once():
    tree = finalise(refresh(refresh(stateful())))
    repeat, _, outer, _ = tree.bijections
    assert same([repeat.layers.rounds, outer.rounds], [np.full(2, 2.0), np.asarray(2.0)])
    assert same([repeat.layers.sealed, outer.sealed], [np.full(2, 2.0), np.asarray(2.0)])


def test_fit_initialises_refreshes_each_step_and_finalises():
    flow = pf.Flow(pf.bases.Normal((2,)), stateful())
    fitted, history = fit(data() + 7, flow, validation=0, max_epochs=2)
    steps = (history.best_epoch + 1) * 16  # 8 steps a pass, two passes an epoch
    repeat, _, outer, units = fitted.bijection.bijections
    assert same([repeat.layers.rounds, outer.rounds], [np.full(2, steps), np.asarray(steps)])
    assert same([repeat.layers.sealed, outer.sealed], [np.full(2, steps), np.asarray(steps)])
    assert units.mean.dtype == np.float64
    assert np.allclose(units.mean, (data() + 7).mean(0), rtol=0, atol=1e-12)
    assert abs(history.best_validation - history.gaussian) < 1  # log-likelihoods of the training rows here


def test_a_skipped_step_does_not_refresh():
    stack = stateful().bijections
    flow = pf.Flow(pf.bases.Normal((2,)), Chain([*stack[:-1], Brittle(8.0), stack[-1]]))
    x = data()
    x[17] = 50.0
    fitted, history = fit(x, flow, validation=0)
    assert history.skipped_steps == 2
    assert float(fitted.bijection.bijections[2].rounds) == 16 - 2
