"""nflows 0.14.

nsf: `PiecewiseRationalQuadraticCouplingTransform`, 8 bins, linear tails, tail bound 5, no splines on the kept half.
real_nvp: `AffineCouplingTransform`. Alternating masks, no permutations. Conditioners: plain ReLU networks of our own
making, because its MLP does not take the context that its coupling layers pass.

maf: `MaskedAffineAutoregressiveTransform`, iaf: the same under `InverseTransform`, nsf_ar:
`MaskedPiecewiseRationalQuadraticAutoregressiveTransform` with the settings of nsf; `ReversePermutation` between layers.
Conditioners: its `MADE` without residual blocks. It has an input layer (without activation) before its blocks of one
linear map and a ReLU, so depth - 1 blocks make as many matrix products as everybody's.
"""

import torch
from nflows.distributions import StandardNormal
from nflows.flows import Flow
from nflows.transforms import (
    AffineCouplingTransform,
    CompositeTransform,
    InverseTransform,
    MaskedAffineAutoregressiveTransform,
    MaskedPiecewiseRationalQuadraticAutoregressiveTransform,
    PiecewiseRationalQuadraticCouplingTransform,
    ReversePermutation,
)
from nflows.utils.torchutils import create_alternating_binary_mask
from protocol import Operation, serve
from torch_operations import PlainNetwork, operations


def build(workload: dict) -> dict[str, Operation]:
    torch.manual_seed(0)
    layers = {
        "nsf": _couplings,
        "real_nvp": _couplings,
        "maf": _autoregressive,
        "nsf_ar": _autoregressive,
        "iaf": lambda workload: [InverseTransform(CompositeTransform(_autoregressive(workload)))],
    }[workload["family"]](workload)
    flow = Flow(CompositeTransform(layers), StandardNormal([workload["dim"]]))
    return operations(flow, workload, flow.log_prob, flow.sample)


def _couplings(workload: dict) -> list[torch.nn.Module]:
    def network(n_in: int, n_out: int) -> PlainNetwork:
        return PlainNetwork(n_in, n_out, workload["width"], workload["depth"])

    def spline(mask: torch.Tensor) -> torch.nn.Module:
        return PiecewiseRationalQuadraticCouplingTransform(
            mask, network, num_bins=workload["n_bins"], tails="linear", tail_bound=5.0
        )

    layer = {"nsf": spline, "real_nvp": lambda mask: AffineCouplingTransform(mask, network)}[workload["family"]]
    masks = [create_alternating_binary_mask(workload["dim"], even=i % 2 == 0) for i in range(workload["n_layers"])]
    return [layer(mask) for mask in masks]


def _autoregressive(workload: dict) -> list[torch.nn.Module]:
    dim = workload["dim"]
    made = {"hidden_features": workload["width"], "num_blocks": workload["depth"] - 1, "use_residual_blocks": False}
    layers: list[torch.nn.Module] = []
    for index in range(workload["n_layers"]):
        if index > 0:
            layers.append(ReversePermutation(dim))
        if workload["family"] == "nsf_ar":
            spline = {"num_bins": workload["n_bins"], "tails": "linear", "tail_bound": 5.0}
            layers.append(MaskedPiecewiseRationalQuadraticAutoregressiveTransform(dim, **made, **spline))
        else:
            layers.append(MaskedAffineAutoregressiveTransform(dim, **made))
    return layers


if __name__ == "__main__":
    serve(build)
