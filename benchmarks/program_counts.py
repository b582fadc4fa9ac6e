"""What a lowered program does, counted in its StableHLO: products, other operations, bytes, loops.

Every operation counts as often as it runs: one inside a loop, as often as the loop turns. A compiler joins operations
without products into fewer kernels, so their number says how much there is to join, not how many kernels there will be;
products, loops and what depends on them stay in sequence.
"""

import collections
import math
from typing import Any

from jax._src.lib.mlir import ir
from jax._src.lib.mlir.dialects import hlo

PRODUCTS = ("dot_general", "dot", "convolution")
KINDS = {
    **dict.fromkeys(PRODUCTS, "products"),
    **dict.fromkeys(("gather", "dynamic_gather", "scatter"), "gathers"),
    **dict.fromkeys(("dynamic_slice", "dynamic_update_slice"), "dynamic_slices"),
    **dict.fromkeys(("reduce", "reduce_window"), "reductions"),
    **dict.fromkeys(("sort", "rng_bit_generator", "custom_call", "triangular_solve", "cholesky", "fft"), "other"),
    **dict.fromkeys(("slice", "concatenate", "pad", "transpose", "reverse"), "copies"),
    # Free, or part of what reads them.
    **dict.fromkeys(("constant", "return", "reshape", "broadcast_in_dim", "iota", "optimization_barrier"), None),
}
LOOPS, CALLS, BRANCHES = ("while",), ("call",), ("case", "if")
_VARIANTS = ("products", "elementwise", "copies", "gathers", "dynamic_slices", "reductions", "other")


def counted(lowered: Any) -> dict[str, Any]:
    """Counts of a program: `jax.jit(f).trace(...).lower(...)`."""
    program = _Program(lowered.compiler_ir())
    numbers = program.numbers("main")
    return {
        **{kind: numbers[kind] for kind in _VARIANTS},
        "flops": numbers["flops"],
        "product_bytes": numbers["product_bytes"],
        "argument_bytes": program.argument_bytes(),
        "branches": numbers["branches"],
        "loops": numbers["loops"],
        "loop_steps": numbers["loop_steps"],
        "operations_in_loops": numbers["operations_in_loops"],
        "loops_of_unknown_length": numbers["loops_of_unknown_length"],
        "products_in_sequence": program.chain("main"),
    }


def added(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Counts of two programs that run one after the other."""
    return {name: first.get(name, 0) + second[name] for name in second}


class _Program:
    """A module of StableHLO, counted function by function."""

    def __init__(self, module: Any) -> None:
        self.functions = {op.attributes["sym_name"].value: op for op in _operations(module.body)}
        self.known: dict[str, collections.Counter] = {}

    def argument_bytes(self) -> int:
        """Bytes of the arguments and results of the whole program."""
        kind = self.functions["main"].attributes["function_type"].value
        return sum(_bytes(one) for one in [*kind.inputs, *kind.results])

    def numbers(self, name: str) -> collections.Counter:
        """Counts of a function, the functions it calls included."""
        if name not in self.known:
            self.known[name] = self._block(self.functions[name].regions[0].blocks[0])
        return self.known[name]

    def _block(self, block: Any) -> collections.Counter:
        total: collections.Counter = collections.Counter()
        for op in _operations(block):
            name = op.name.split(".")[-1]
            if name in CALLS:
                total.update(self.numbers(_callee(op)))
            elif name in LOOPS:
                total.update(self._loop(op))
            elif name in BRANCHES:
                total["branches"] += 1
                total.update(max((self._block(part.blocks[0]) for part in op.regions), key=_operations_of))
            elif kind := KINDS.get(name, "elementwise"):
                total[kind] += 1
                if name in PRODUCTS:
                    total["flops"] += _flops(op)
                    total["product_bytes"] += sum(_bytes(value.type) for value in [*op.operands, *op.results])
        return total

    def _loop(self, op: Any) -> collections.Counter:
        turns, body = trip_count(op), self._block(op.regions[1].blocks[0])
        total = collections.Counter({name: (turns or 1) * number for name, number in body.items()})
        total["loops"] = body["loops"] + 1
        total["loop_steps"] += turns or 1
        total["loops_of_unknown_length"] = body["loops_of_unknown_length"] + (turns is None)
        # Those of inner loops are already among them.
        total["operations_in_loops"] = (turns or 1) * _operations_of(body)
        return total

    def chain(self, name: str) -> int:
        """The most products of which each waits for the one before."""
        block = self.functions[name].regions[0].blocks[0]
        return max(self._depths(block, [0] * len(block.arguments)), default=0)

    def _depths(self, block: Any, arguments: list[int], around: dict[Any, int] | None = None) -> list[int]:
        """Products in sequence up to each result of a block; arguments and values around it have some before them."""
        depth: dict[Any, int] = {**(around or {}), **dict(zip(block.arguments, arguments, strict=True))}
        for op in _operations(block):
            before = [depth.get(value, 0) for value in op.operands]
            name = op.name.split(".")[-1]
            if name == "return":
                return before
            if name in CALLS:
                after = self._depths(self.functions[_callee(op)].regions[0].blocks[0], before)
            elif name in LOOPS:
                body = op.regions[1].blocks[0]
                step = max(self._depths(body, [0] * len(body.arguments)), default=0)
                after = [max(before, default=0) + (trip_count(op) or 1) * step] * len(op.results)
            elif name in BRANCHES:
                parts = [self._depths(part.blocks[0], [], depth) for part in op.regions]
                after = [max(of_result) for of_result in zip(*parts, strict=True)]
            else:
                after = [max(before, default=0) + (name in PRODUCTS)] * len(op.results)
            depth.update(zip(op.results, after, strict=True))
        return []


def trip_count(loop: Any) -> int | None:
    """How often a loop turns at most: the bound of the counter in its condition, less its start; None if unknown."""
    condition = loop.regions[0].blocks[0]
    for op in _operations(condition):
        if op.name != "stablehlo.compare" or "LT" not in str(op.attributes["comparison_direction"]):
            continue
        counter, bound = op.operands
        position = next((i for i, argument in enumerate(condition.arguments) if argument == counter), None)
        start = None if position is None else _constant(loop.operands[position])
        end = _constant(bound)
        if end is None:  # the bound may itself be carried
            other = next((i for i, argument in enumerate(condition.arguments) if argument == bound), None)
            end = None if other is None else _constant(loop.operands[other])
        if start is not None and end is not None:
            return max(end - start, 0)
    return None


def _constant(value: Any) -> int | None:
    owner = value.owner
    if not hasattr(owner, "name") or owner.name != "stablehlo.constant":
        return None
    numbers = list(ir.DenseIntElementsAttr(owner.attributes["value"]))
    return int(numbers[0]) if len(numbers) == 1 else None


def _operations(block: Any) -> list[Any]:
    return [op.operation for op in block.operations]


def _callee(op: Any) -> str:
    return ir.FlatSymbolRefAttr(op.attributes["callee"]).value


def _operations_of(numbers: collections.Counter) -> int:
    return sum(numbers[kind] for kind in _VARIANTS)


def _shape(kind: Any) -> list[int]:
    return list(ir.RankedTensorType(kind).shape)


def _bytes(kind: Any) -> int:
    """Of a tensor; nothing for tokens."""
    if not isinstance(kind, ir.RankedTensorType) and "tensor" not in str(kind):
        return 0
    tensor = ir.RankedTensorType(kind)
    width = next(int(digits) for digits in ("64", "32", "16", "8", "4", "1") if digits in str(tensor.element_type))
    return math.prod(tensor.shape) * max(width // 8, 1)


def _flops(op: Any) -> int:
    """Two for each multiplication of a product."""
    results, (left, right) = math.prod(_shape(op.results[0].type)), (_shape(value.type) for value in op.operands)
    if op.name.endswith("convolution"):
        numbers = hlo.ConvDimensionNumbers(op.attributes["dimension_numbers"])
        return 2 * results * math.prod(right) // right[numbers.kernel_output_feature_dimension]
    if op.name.endswith("dot"):
        return 2 * results * left[-1]
    numbers = hlo.DotDimensionNumbers(op.attributes["dot_dimension_numbers"])
    return 2 * results * math.prod(left[axis] for axis in numbers.lhs_contracting_dimensions)
