"""What a family says of itself on its card, and how much work a card may be."""

import dataclasses
from collections.abc import Callable

import numpy as np

from pushforward.core.flow import Flow


@dataclasses.dataclass(frozen=True)
class Matrix:
    """A small matrix to be drawn cell by cell.

    Attributes:
        title: what it is.
        values: (rows, columns); zeros stay white.
        is_mask: ones and zeros only, drawn in one colour; else the colour says sign and size.
    """

    title: str
    values: np.ndarray
    is_mask: bool = False


@dataclasses.dataclass(frozen=True)
class Card:
    """One family of flows: all that the gallery must be told; the pictures and the numbers it makes by itself.

    Attributes:
        name: for `--families`, and the place of the card in the page.
        title: its heading.
        recipes: names of the recipes of this family; the first is the one drawn, unless `build` says otherwise.
        formula: of one layer, as HTML text with <sub>, <sup> and <i>.
        build: a flow of (dim, n_layers, key); layers are equal but for what changes between them in the recipe.
        jacobian: a sentence on what the Jacobian of a layer looks like.
        use: one sentence on when to take it.
        density_cost, sample_cost: what theory says of log_prob and of sample.
        depths: the numbers of layers whose effect is shown, rising.
        n_layers: layers of the flows that are fitted to the shapes; one of `depths`, so that one program serves both.
        most_dim: the largest number of coordinates at which its costs are measured.
        note: why depths or layers differ from those of the other cards; empty where they do not.
        matrices: what is inside a layer of a flow with one layer: masks or factors.
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
    """The work on a card, the same for all families.

    Attributes:
        n_rows: training rows of a shape.
        n_epochs: passes over them.
        batch_size: rows in a step.
        n_test: held-out rows of a shape.
        pixels: along the side of a picture of a density.
        warp_pixels: along the side of a picture of a grid.
        most_layers: cards with more layers are cut down to this many.
        dims: numbers of coordinates at which the costs are measured.
        jacobian_dim: number of coordinates of the Jacobian's picture.
        timing_seconds: how long a call is repeated to find its least time.
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
        """Steps of a fit."""
        return self.n_epochs * (self.n_rows // self.batch_size)

    def depths(self, card: Card) -> tuple[int, ...]:
        """The card's depths within the budget."""
        return tuple(depth for depth in card.depths if depth <= self.most_layers)

    def dims_of(self, card: Card) -> tuple[int, ...]:
        """The numbers of coordinates at which the card's costs are measured."""
        return tuple(dim for dim in self.dims if dim <= card.most_dim)

    def n_layers(self, card: Card) -> int:
        """The card's layers of the fitted shapes within the budget."""
        return min(card.n_layers, self.depths(card)[-1])


FULL = Budget()
QUICK = Budget(
    n_rows=512, n_epochs=2, n_test=256, pixels=16, warp_pixels=60, most_layers=1, dims=(4,), timing_seconds=0.0
)
