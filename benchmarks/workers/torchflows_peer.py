"""torchflows 1.2.1.

nsf: `CouplingRQNSF` (8 bins is its default), real_nvp: `RealNVP`. Both come with reversals, activation normalisation
and element-wise affine layers between and around the couplings. Conditioners: its `FeedForward`, ReLU,
n_layers = depth + 1 (it counts linear maps), n_hidden = width.
"""

import torch
from protocol import Operation, serve
from torch_operations import operations
from torchflows.bijections.finite.autoregressive.architectures import CouplingRQNSF, RealNVP
from torchflows.flows import Flow


def build(workload: dict) -> dict[str, Operation]:
    torch.manual_seed(0)
    conditioner = {
        "n_hidden": workload["width"],
        "n_layers": workload["depth"] + 1,
        "nonlinearity": torch.nn.ReLU,
    }
    options: dict = {"n_layers": workload["n_layers"], "conditioner_kwargs": conditioner}
    if workload["family"] == "nsf":
        options["transformer_kwargs"] = {"n_bins": workload["n_bins"]}
    architecture = {"nsf": CouplingRQNSF, "real_nvp": RealNVP}[workload["family"]]
    flow = Flow(architecture(event_shape=(workload["dim"],), **options))
    return operations(flow, workload, flow.log_prob, flow.sample)


if __name__ == "__main__":
    serve(build)
