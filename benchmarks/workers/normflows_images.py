"""Glow of normflows: `MultiscaleFlow` of its `GlowBlock` and `Squeeze`, with the sizes of the workload.

A block has its convolutional network (3 x 3, 1 x 1, 3 x 3, width `width`), an affine coupling of half of the channels
with its sigmoid scale, an LU 1 x 1 convolution and activation normalisation, as ours has. Bases are standard normals.
Channels come first here.
"""

import normflows as nf
import torch
from protocol import Operation
from torch_operations import operations_on


def build(workload: dict) -> dict[str, Operation]:
    torch.manual_seed(0)
    (height, width, channels), n_scales = workload["shape"], workload["n_scales"]
    bases, flows, merges = [], [], []
    for index in range(n_scales):  # from the base to the data
        # halvings before this scale's layers, and what has been left to the base on the way there
        halvings = n_scales - index
        depth = channels * 2 ** (halvings + 1)
        blocks = [
            nf.flows.GlowBlock(depth, workload["width"], scale_map="sigmoid", split_mode="channel")
            for _ in range(workload["n_layers"])
        ]
        flows.append([*blocks, nf.flows.Squeeze()])
        left = depth if index == 0 else depth // 2
        bases.append(nf.distributions.DiagGaussian((left, height >> halvings, width >> halvings), trainable=False))
        if index > 0:
            merges.append(nf.flows.Merge())
    flow = nf.MultiscaleFlow(bases, flows, merges, class_cond=False)
    x = torch.randn(workload["batch"], channels, height, width)
    with torch.no_grad():
        flow.log_prob(x, None)  # activation normalisation starts from data
        for parameter in flow.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    return operations_on(
        x, flow, lambda x: flow.log_prob(x, None), lambda: flow.sample(workload["batch"])[0].permute(0, 2, 3, 1)
    )
