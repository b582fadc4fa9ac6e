"""The description of a family of flows, and the amount of work that a card takes."""

import dataclasses
from collections.abc import Callable

import numpy as np

from pushforward.core.flow import Flow


@dataclasses.dataclass(frozen=True)
class Matrix:
    """A small matrix to draw cell by cell.

    Attributes:
        title: a short description.
        values: (rows, columns); zeros are white.
        is_mask: whether it has only ones and zeros, drawn in one colour; else the colour shows sign and size.
    """

    title: str
    values: np.ndarray
    is_mask: bool = False


@dataclasses.dataclass(frozen=True)
class Card:
    """One family of flows: what the gallery needs to make its pictures and numbers.

    Attributes:
        name: identifier for `--families` and for links within the page.
        title: the heading.
        recipes: names of the recipes of this family; `build` uses the first, unless the card differs.
        formula: formula of one layer, as HTML text with <sub>, <sup> and <i>.
        build: makes a flow from (dim, n_layers, key).
        jacobian: a sentence on the structure of the Jacobian of a layer.
        use: one sentence on when to use the family.
        density_cost, sample_cost: theoretical costs of log_prob and sample.
        depths: the numbers of layers whose effect is shown, increasing.
        n_layers: layers of the flows that are fitted to the shapes; one of `depths`, so that both share a program.
        most_dim: the largest number of coordinates at which its costs are measured.
        note: why depths or layers differ from those of other cards; empty if they do not.
        matrices: masks or factors of a flow with one layer.
    """

    name: str
    title: str
    recipes: tuple[str, ...]
    formula: str
    build: Callable[[int, int, int], Flow]
    jacobian: str
    use: str
    density_cost: str
    sample_cost: str
    depths: tuple[int, ...] = (1, 2, 10, 32)
    n_layers: int = 10
    most_dim: int = 128
    note: str = ""
    matrices: Callable[[Flow], tuple[Matrix, ...]] | None = None


@dataclasses.dataclass(frozen=True)
class Budget:
    """The amount of work for a card, the same for all families.

    Attributes:
        n_rows: training rows of a shape.
        n_epochs: passes over them.
        batch_size: rows in a step.
        n_test: test rows of a shape.
        pixels: side of a picture of a density.
        warp_pixels: side of a picture of a grid.
        most_layers: upper limit on the layers of a card.
        dims: numbers of coordinates at which the costs are measured.
        jacobian_dim: number of coordinates in the picture of the Jacobian.
        timing_seconds: how long a call is repeated to find its minimum time.
    """

    n_rows: int = 10_240
    n_epochs: int = 15
    batch_size: int = 256
    n_test: int = 4_096
    pixels: int = 128
    warp_pixels: int = 230
    most_layers: int = 32
    dims: tuple[int, ...] = (2, 8, 32, 128)
    jacobian_dim: int = 8
    timing_seconds: float = 0.2

    @property
    def n_steps(self) -> int:
        """Number of training steps of a fit."""
        return self.n_epochs * (self.n_rows // self.batch_size)

    def depths(self, card: Card) -> tuple[int, ...]:
        """The card's depths within the budget."""
        return tuple(depth for depth in card.depths if depth <= self.most_layers)

    def dims_of(self, card: Card) -> tuple[int, ...]:
        """The numbers of coordinates at which the card's costs are measured."""
        return tuple(dim for dim in self.dims if dim <= card.most_dim)

    def n_layers(self, card: Card) -> int:
        """The number of layers of the flows that are fitted to the shapes."""
        return min(card.n_layers, self.depths(card)[-1])


FULL = Budget()
QUICK = Budget(
    n_rows=512, n_epochs=2, n_test=256, pixels=16, warp_pixels=60, most_layers=1, dims=(4,), timing_seconds=0.0
)
