"""What the four PyTorch peers share: timed operations on a flow, from functions for log_prob and sample.

Eager mode, as their documentation uses them. All cores; the gradient tape is off where none is needed. Where a density
takes derivatives itself, `torch.no_grad` stands in for the faster `torch.inference_mode`, under which it cannot.
On an accelerator (see `driver.Worker`) every operation waits until the device has done its work.
"""

import itertools
import os
from collections.abc import Callable

import torch
from protocol import Operation, normal_rows

LEARNING_RATE = 1e-4
DEVICE = torch.device("cuda" if os.environ.get("BENCHMARK_DEVICE") == "accelerator" else "cpu")

torch.set_num_threads(len(os.sched_getaffinity(0)))


def operations(
    module: torch.nn.Module,
    workload: dict,
    log_prob: Callable[[torch.Tensor], torch.Tensor],
    sample: Callable[[int], torch.Tensor],
    differentiates: bool = False,
    after_step: Callable[[], None] = lambda: None,
) -> dict[str, Operation]:
    """log_prob, training_step and sample of `module`; `after_step` ends a training step."""
    x = torch.from_numpy(normal_rows(workload["batch"], workload["dim"]))
    return operations_on(x, module, log_prob, lambda: sample(workload["batch"]), differentiates, after_step)


def operations_on(
    x: torch.Tensor,
    module: torch.nn.Module,
    log_prob: Callable[[torch.Tensor], torch.Tensor],
    sample: Callable[[], torch.Tensor],
    differentiates: bool = False,
    after_step: Callable[[], None] = lambda: None,
) -> dict[str, Operation]:
    """The same on events of any shape."""
    without_tape = torch.no_grad if differentiates else torch.inference_mode
    module, x = module.to(DEVICE), x.to(DEVICE)
    optimizer = torch.optim.Adam(module.parameters(), lr=LEARNING_RATE)

    def score() -> torch.Tensor:
        with without_tape():
            return done(log_prob(x))

    def step() -> float:
        optimizer.zero_grad()
        loss = -log_prob(x).mean()
        loss.backward()
        optimizer.step()
        after_step()
        return loss.item()

    def draw() -> torch.Tensor:
        with without_tape():
            return done(sample())

    return {"log_prob": score, "training_step": step, "sample": draw}


def done(result: torch.Tensor) -> torch.Tensor:
    """The result once it is there: calls to a GPU return before it is."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return result


class PlainNetwork(torch.nn.Module):
    """The conditioner that nflows and normflows are handed: ReLU layers without skips, called with an empty context."""

    def __init__(self, n_in: int, n_out: int, width: int, depth: int):
        super().__init__()
        # Both libraries read this attribute to scale the spline's parameters down.
        self.hidden_features = width
        sizes = [n_in] + [width] * depth
        layers: list[torch.nn.Module] = []
        for before, after in itertools.pairwise(sizes):
            layers += [torch.nn.Linear(before, after), torch.nn.ReLU()]
        self.layers = torch.nn.Sequential(*layers, torch.nn.Linear(width, n_out))

    def forward(self, inputs: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        return self.layers(inputs)
