"""normflows 1.7.3.

nsf: `PiecewiseRationalQuadraticCoupling`, 8 bins, linear tails, tail bound 5, alternating masks, no splines on the kept
half, with a plain ReLU network: its wrapper `CoupledRationalQuadraticSpline` would add residual blocks and splines on
the kept half, that is more work. real_nvp: `AffineCouplingBlock` with its `MLP`, and `Permute(mode="swap")` between.

iaf: `MaskedAffineAutoregressive` as it is (its one pass draws), maf: the same turned round. nsf_ar:
`MaskedPiecewiseRationalQuadraticAutoregressive` with the settings of nsf, not started at the identity; its wrapper
`AutoregressiveRationalQuadraticSpline` would add residual blocks. `Permute(mode="shuffle")` between. Conditioners: its
`MADE` without residual blocks. It has an input layer (without activation) before its blocks of one linear map and a
ReLU, so depth - 1 blocks make as many matrix products as everybody's.
"""

import normflows as nf
import torch
from normflows.flows.neural_spline.autoregressive import MaskedPiecewiseRationalQuadraticAutoregressive
from normflows.flows.neural_spline.coupling import PiecewiseRationalQuadraticCoupling
from normflows.utils.masks import create_alternating_binary_mask
from protocol import Operation, serve
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
    kept = (dim + 1) // 2
    layers: list[torch.nn.Module] = []
    for index in range(workload["n_layers"]):
        if index > 0:
            layers.append(nf.flows.Permute(dim, mode="swap"))
        layers.append(nf.flows.AffineCouplingBlock(nf.nets.MLP([kept, *hidden, 2 * (dim - kept)])))
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


if __name__ == "__main__":
    serve(build)
