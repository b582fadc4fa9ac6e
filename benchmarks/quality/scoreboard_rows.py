"""The rows of the scoreboard: data, recipe, budget, and the published figure with its source."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pushforward as pf

MAF = "Papamakarios, Pavlakou & Murray 2017, table 1"
NSF = "Durkan, Bekasov, Murray & Papamakarios 2019, table 1"
DIM = 6


@dataclasses.dataclass(frozen=True)
class Row:
    """A flow trained by likelihood on one data set.

    Attributes:
        build: makes the flow from a key.
        settings: what the page says of it.
        published: nats a row, with its error as printed there; None for none.
        source: of the published figure.
        batch_size: rows in a step.
        minutes: budget, in time of a quiet machine with two cores.
        learning_rate: peak, None for the default of `fit`.
        start: "given" trains the layers as published; "auto" lets `fit` Gaussianize the columns first.
    """

    name: str
    build: Callable[[int], Any]
    settings: str
    published: tuple[float, float] | None
    source: str
    batch_size: int = 512
    minutes: float = 20.0
    learning_rate: float | None = None
    start: str = "given"


def _row(name: str, recipe: str, published: tuple[float, float] | None, source: str, **options: Any) -> Row:
    """A row for POWER; `options` are those of the recipe, or of `Row`."""
    fields = {key: options.pop(key) for key in ("batch_size", "minutes", "learning_rate", "start") if key in options}
    settings = ", ".join(f"{key} {value}" for key, value in options.items())
    return Row(
        f"power-{name}", lambda key: getattr(pf, recipe)(DIM, key=key, **options),
        f"`{recipe}`" + (f", {settings}" if settings else "") + (", columns Gaussianized" if "start" in fields else ""),
        published, source, **fields,
    )  # fmt: skip


ROWS = {
    row.name: row
    for row in (
        _row("gaussian", "linear_flow", (-7.74, 0.02), MAF, minutes=1.0),
        _row("made", "made", (-3.08, 0.03), MAF, width=100),
        _row("made_mog", "made_mog", (0.40, 0.01), MAF, width=100, n_components=10),
        _row("real_nvp", "real_nvp", (0.17, 0.01), MAF, n_layers=10, width=100),
        _row("maf", "maf", (0.14, 0.01), MAF, n_layers=5, width=100),
        _row("maf_mog", "maf_mog", (0.30, 0.01), MAF, n_layers=5, width=100, n_components=10),
        _row("nsf", "nsf", (0.64, 0.01), NSF, n_layers=8, width=128),
        _row("nsf_ar", "nsf_ar", (0.66, 0.01), NSF, n_layers=5, width=128),
        _row("naf", "naf", (0.62, 0.01), "Huang, Krueger, Lacoste & Courville 2018, table 1", n_layers=5, width=100),
        _row("bnaf", "bnaf", (0.61, 0.01), "De Cao, Titov & Aziz 2019, table 2", n_layers=1, n_units=20),
        _row("umnn_maf", "umnn_maf", (0.63, 0.01), "Wehenkel & Louppe 2019, table 1", n_layers=3, width=100),
        _row("sos", "sos_flow", (0.60, 0.01), "Jaini, Selby & Yu 2019, table 2", n_layers=5, width=100),
        _row(
            "residual", "residual_flow", (0.26, 0.0), "Lu, Chen, Li, Wang & Zhu 2021, table 2", n_layers=10, width=128
        ),
        _row("nsf_ar_60", "nsf_ar", (0.66, 0.01), NSF, n_layers=3, width=128, n_bins=16, minutes=60.0, start="auto"),
        _row("nsf_ar_180", "nsf_ar", (0.66, 0.01), NSF, n_layers=4, width=192, n_bins=16, minutes=180.0, start="auto"),
        _row("transformer", "transformer_flow", None, "", transformer="rational_quadratic", n_layers=3, width=64),
    )
}
