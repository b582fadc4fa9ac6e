"""normflows 1.7.3.

nsf: `PiecewiseRationalQuadraticCoupling`, 8 bins, linear tails, tail bound 5, alternating masks, no splines on the kept
half, with a plain ReLU network: its wrapper `CoupledRationalQuadraticSpline` would add residual blocks and splines on
the kept half, that is more work. real_nvp: `AffineCouplingBlock` with its `MLP`, and `Permute(mode="swap")` between.

iaf: `MaskedAffineAutoregressive` as it is (its one pass draws), maf: the same turned round. nsf_ar:
`MaskedPiecewiseRationalQuadraticAutoregressive` with the settings of nsf, not started at the identity; its wrapper
`AutoregressiveRationalQuadraticSpline` would add residual blocks. `Permute(mode="shuffle")` between. Conditioners: its
`MADE` without residual blocks. It has an input layer (without activation) before its blocks of one linear map and a
ReLU, so depth - 1 blocks make as many matrix products as everybody's.

residual_flow, i_resnet: `Residual` around its `LipschitzMLP` (which puts one more activation in front), as in its
examples: memory-saving gradients, `ActNorm` after each block; started away from the identity, with all norms at their
bound. Its geometric distribution starts at one, so it is given one exact term less. `inverse` is its fixed-point
search at its own tolerance, `inverse_fine` to steps of 1e-6. With `weights` it holds the flow that ours has trained.
glow: see `normflows_images`.
"""

import normflows as nf
import normflows_images
import numpy as np
import torch
from normflows.flows.neural_spline.autoregressive import MaskedPiecewiseRationalQuadraticAutoregressive
from normflows.flows.neural_spline.coupling import PiecewiseRationalQuadraticCoupling
from normflows.nets.lipschitz import InducedNormLinear, Swish
from normflows.utils.masks import create_alternating_binary_mask
from protocol import Operation, normal_rows, serve
from residual_settings import CONTINUATION, N_EXACT, N_TERMS, POWER_ROUNDS, share
from torch_operations import PlainNetwork, operations


class Reversed(nf.flows.Flow):
    """A layer turned round, so that its `forward` scores: the library's own wrappers of splines do the same."""

    def __init__(self, inner: torch.nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.inner.inverse(z)

    def inverse(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.inner.forward(z)


def build(workload: dict) -> dict[str, Operation]:
    torch.manual_seed(0)
    if workload["family"] == "glow":
        return normflows_images.build(workload)
    if workload["family"] in ("residual_flow", "i_resnet"):
        return _residual(workload)
    layers = {
        "nsf": _splines,
        "real_nvp": _affine,
        "maf": _autoregressive,
        "nsf_ar": _autoregressive,
        "iaf": _autoregressive,
    }[workload["family"]](workload)
    base = nf.distributions.DiagGaussian(workload["dim"], trainable=False)
    flow = nf.NormalizingFlow(base, layers)
    return operations(flow, workload, flow.log_prob, lambda n: flow.sample(n)[0])


def _splines(workload: dict) -> list[torch.nn.Module]:
    def network(n_in: int, n_out: int) -> PlainNetwork:
        return PlainNetwork(n_in, n_out, workload["width"], workload["depth"])

    masks = [create_alternating_binary_mask(workload["dim"], even=i % 2 == 0) for i in range(workload["n_layers"])]
    return [
        Reversed(
            PiecewiseRationalQuadraticCoupling(
                mask, network, num_bins=workload["n_bins"], tails="linear", tail_bound=5.0
            )
        )
        for mask in masks
    ]


def _affine(workload: dict) -> list[torch.nn.Module]:
    dim, hidden = workload["dim"], [workload["width"]] * workload["depth"]
    n_conditioning = (dim + 1) // 2
    layers: list[torch.nn.Module] = []
    for index in range(workload["n_layers"]):
        if index > 0:
            layers.append(nf.flows.Permute(dim, mode="swap"))
        layers.append(nf.flows.AffineCouplingBlock(nf.nets.MLP([n_conditioning, *hidden, 2 * (dim - n_conditioning)])))
    return layers


def _autoregressive(workload: dict) -> list[torch.nn.Module]:
    dim = workload["dim"]
    made = {"hidden_features": workload["width"], "num_blocks": workload["depth"] - 1, "use_residual_blocks": False}
    spline = {"num_bins": workload["n_bins"], "tails": "linear", "tail_bound": 5.0, "init_identity": False}
    layer = {
        "iaf": lambda: nf.flows.MaskedAffineAutoregressive(dim, **made),
        "maf": lambda: Reversed(nf.flows.MaskedAffineAutoregressive(dim, **made)),
        "nsf_ar": lambda: Reversed(MaskedPiecewiseRationalQuadraticAutoregressive(dim, **made, **spline)),
    }[workload["family"]]
    layers: list[torch.nn.Module] = []
    for index in range(workload["n_layers"]):
        if index > 0:
            layers.append(nf.flows.Permute(dim, mode="shuffle"))
        layers.append(layer())
    return layers


def _residual(workload: dict) -> dict[str, Operation]:
    flow = _residual_flow(workload)
    z = torch.from_numpy(normal_rows(workload["batch"], workload["dim"]))

    def renew_norms() -> None:
        nf.utils.update_lipschitz(flow, POWER_ROUNDS)

    return operations(
        flow, workload, flow.log_prob, lambda n: flow.sample(n)[0], differentiates=True, after_step=renew_norms
    ) | {"inverse": lambda: _inverse(flow, z), "inverse_fine": lambda: _inverse(flow, z, atol=1e-12, rtol=0.0)}


def _residual_flow(workload: dict) -> nf.NormalizingFlow:
    if workload.get("weights"):
        return _trained_flow(workload)
    dim, layers = workload["dim"], []
    sizes = [dim, *[workload["width"]] * workload["depth"], dim]
    series = {"n_power_series": N_TERMS} if workload["family"] == "i_resnet" else {}
    for _ in range(workload["n_layers"]):
        network = nf.nets.LipschitzMLP(sizes, lipschitz_const=share(workload["depth"]), init_zeros=False)
        layers += [
            nf.flows.Residual(network, geom_p=1 - CONTINUATION, n_exact_terms=N_EXACT - 1, **series),
            nf.flows.ActNorm(dim),
        ]
    return nf.NormalizingFlow(nf.distributions.DiagGaussian(dim, trainable=False), layers)


def _trained_flow(workload: dict) -> nf.NormalizingFlow:
    """The blocks and affine maps of a trained flow of ours, number for number; the last is next to the data."""
    dim, layers = workload["dim"], []
    with np.load(workload["weights"]) as arrays:
        numbers = {name: torch.from_numpy(arrays[name]) for name in arrays}
    for index in range(workload["n_layers"]):
        parts: list[torch.nn.Module] = []
        for layer_index in range(workload["depth"] + 1):
            weight, bias = numbers[f"weight{layer_index}"][index], numbers[f"bias{layer_index}"][index]
            linear = InducedNormLinear(*weight.shape, coeff=share(workload["depth"]) * 1.0001, n_iterations=5)
            linear.weight.data, linear.bias.data = weight.T.contiguous(), bias
            linear.compute_weight(True, n_iterations=200)
            parts.append(linear)
            if layer_index < workload["depth"]:
                parts.append(Swish())
                parts[-1].beta.data = numbers["slopes"][index][layer_index : layer_index + 1]
        affine = nf.flows.AffineConstFlow(dim)
        affine.s.data, affine.t.data = numbers["log_scale"][index][None], numbers["shift"][index][None]
        layers += [nf.flows.Residual(torch.nn.Sequential(*parts)), affine]
    return nf.NormalizingFlow(nf.distributions.DiagGaussian(dim, trainable=False), layers)


def _inverse(flow: nf.NormalizingFlow, z: torch.Tensor, **tolerances: float) -> torch.Tensor:
    """Latent points to data without a log-determinant."""
    with torch.no_grad():
        for layer in flow.flows:
            is_block = isinstance(layer, nf.flows.Residual)
            z = layer.iresblock._inverse_fixed_point(z, **tolerances) if is_block else layer(z)[0]
    return z


def inverse_error(workload: dict) -> dict[str, float]:
    """The greatest error of a coordinate after the search and the map back, at both tolerances."""
    torch.manual_seed(0)
    flow, z = _residual_flow(workload), torch.from_numpy(normal_rows(workload["batch"], workload["dim"]))
    errors = {}
    for name, tolerances in (("inverse", {}), ("inverse_fine", {"atol": 1e-12, "rtol": 0.0})):
        x = _inverse(flow, z, **tolerances)
        with torch.no_grad():
            for layer in reversed(flow.flows):
                is_block = isinstance(layer, nf.flows.Residual)
                x = layer.iresblock(x) if is_block else layer.inverse(x)[0]
        errors[name] = float((x - z).abs().max())
    return errors


if __name__ == "__main__":
    serve(build, inverse_error=inverse_error)
