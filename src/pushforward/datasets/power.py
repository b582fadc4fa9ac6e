"""The embedded sample of the UCI household electric power data, prepared as in the MAF paper."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pushforward.errors import DataError

_FILE = Path(__file__).with_name("power.npz")
_STORED = ("active_W", "voltage_cV", "sub1_Wh", "sub2_Wh", "sub3_Wh", "minute_of_day")
_ROWS = {"train": 40_000, "validation": 5_000, "test": 5_000}
_MAX_BYTES = 8 * sum(_ROWS.values())
_NOISE_SEED = 42

COLUMNS = ("active_power", "voltage", "kitchen", "laundry", "climate", "minute_of_day")
UNITS = ("kW", "V", "Wh", "Wh", "Wh", "min")
ATTRIBUTION = (
    "Individual household electric power consumption, G. Hebrail and A. Berard (2012), UCI Machine Learning "
    "Repository, doi:10.24432/C58K54, licence CC BY 4.0; a sample of 50,000 rows, reactive power and current left out, "
    "uniform noise added."
)


@dataclass(frozen=True, eq=False)
class HouseholdPower:
    """Three float64 arrays (n, 6) in physical units, with the names and units of their columns."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    columns: tuple[str, ...] = COLUMNS
    units: tuple[str, ...] = UNITS
    attribution: str = ATTRIBUTION


def household_power() -> HouseholdPower:
    """Minute averages of one household's electricity, 2006 to 2010: 40,000 + 5,000 + 5,000 rows of 6 columns.

    Columns: active power of the house in kW; voltage in V; energy of the kitchen, of the laundry room, and of water
    heater and air conditioner, each in Wh per minute; minute of the day, 0 to 1439. The values are in these units, not
    standardised. The meter's steps are dequantised by uniform noise, x + step * u with u in [0, 1), as in the paper:
    0.001 kW, 0.01 V and 1 Wh, and no noise on the minute. So a continuous density is meaningful, except for the 1440
    values of the minute. The noise has a fixed seed: every call returns the same numbers.

    The three parts are the first rows of the shuffled train, validation and test splits of the paper, so no test row is
    a training row there. `tools/build_power_sample.py` builds the file from the public data.

    Attribution: data of G. Hebrail and A. Berard (2012), UCI Machine Learning Repository, doi:10.24432/C58K54,
    licence CC BY 4.0.

    Returns:
        `HouseholdPower` with `train`, `validation`, `test` (float64), `columns`, `units`, `attribution`.

    Raises:
        DataError: the embedded file is missing or damaged.

    Reference: Papamakarios, Pavlakou and Murray (2017), "Masked autoregressive flow for density estimation", sec. 4.2.

    >>> data = household_power()
    >>> data.train.shape, data.test.shape
    ((40000, 6), (5000, 6))
    >>> data.columns[1], data.units[1], round(float(data.train[:, 1].mean()))
    ('voltage', 'V', 241)
    """
    active, voltage, kitchen, laundry, climate, minute = _stored_columns()
    values = np.stack([active / 1000, voltage / 100, kitchen, laundry, climate, minute], axis=1).astype(np.float64)
    count = len(values)
    # NumPy guarantees the stream of the legacy generator, not of a Generator; the order is that of the paper
    random = np.random.RandomState(_NOISE_SEED)
    values[:, 1] += 0.01 * random.rand(count)
    values[:, 0] += 0.001 * random.rand(count)
    values[:, 2:5] += random.rand(count, 3)
    train, validation, test = np.split(values, np.cumsum(list(_ROWS.values()))[:-1])
    return HouseholdPower(train, validation, test)


def _stored_columns() -> list[np.ndarray]:
    """The six integer columns of the embedded file; every size is checked before it is read."""
    fix = "reinstall pushforward"
    try:
        with zipfile.ZipFile(_FILE) as archive:
            sizes = {member.filename: member.file_size for member in archive.infolist()}
        if sorted(sizes) != sorted(f"{name}.npy" for name in _STORED) or max(sizes.values()) > _MAX_BYTES:
            raise DataError(f"the embedded data file {_FILE} has the members {sizes}, not our six columns: {fix}.")
        with np.load(_FILE, allow_pickle=False) as stored:
            columns = [stored[name] for name in _STORED]
    except (OSError, zipfile.BadZipFile, EOFError) as fault:
        raise DataError(f"the embedded data file {_FILE} cannot be read ({fault}): {fix}.") from fault
    for name, column in zip(_STORED, columns, strict=True):
        if column.shape != (sum(_ROWS.values()),) or column.dtype.kind != "u":
            raise DataError(
                f"the embedded data file {_FILE} has a column {name} of shape {column.shape} and type {column.dtype}, "
                f"expected {sum(_ROWS.values())} unsigned integers: {fix}."
            )
    return columns
