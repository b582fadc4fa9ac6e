"""nflows 0.14.

nsf: `PiecewiseRationalQuadraticCouplingTransform`, 8 bins, linear tails, tail bound 5, no splines on the kept half.
real_nvp: `AffineCouplingTransform`. Alternating masks, no permutations. Conditioners: plain ReLU networks of our own
making, because its MLP does not take the context that its coupling layers pass.
"""

import torch
from nflows.distributions import StandardNormal
from nflows.flows import Flow
from nflows.transforms import (
    AffineCouplingTransform,
    CompositeTransform,
    PiecewiseRationalQuadraticCouplingTransform,
)
from nflows.utils.torchutils import create_alternating_binary_mask
from protocol import Operation, serve
from torch_operations import PlainNetwork, operations


def build(workload: dict) -> dict[str, Operation]:
    torch.manual_seed(0)
    dim, width, depth = workload["dim"], workload["width"], workload["depth"]

    def network(n_in: int, n_out: int) -> PlainNetwork:
        return PlainNetwork(n_in, n_out, width, depth)

    def spline(mask: torch.Tensor) -> torch.nn.Module:
        return PiecewiseRationalQuadraticCouplingTransform(
            mask, network, num_bins=workload["n_bins"], tails="linear", tail_bound=5.0
        )

    layer = {"nsf": spline, "real_nvp": lambda mask: AffineCouplingTransform(mask, network)}[workload["family"]]
    masks = [create_alternating_binary_mask(dim, even=index % 2 == 0) for index in range(workload["n_layers"])]
    flow = Flow(CompositeTransform([layer(mask) for mask in masks]), StandardNormal([dim]))
    return operations(flow, workload, flow.log_prob, flow.sample)


if __name__ == "__main__":
    serve(build)
