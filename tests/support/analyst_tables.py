"""Six small random tables with features of analysts' tables: ties, zeros, shares, counts, missing values."""

from dataclasses import dataclass

import numpy as np
import polars as pl


@dataclass(frozen=True)
class AnalystTable:
    """A frame, options of `fit` for it, and the first words of the detected column types."""

    frame: pl.DataFrame
    options: tuple[str, ...]
    columns: dict[str, str]


def car_sharing(random, n):
    """Car rentals by hour: dates and yes/no as text, percentages up to 100, counts with zeros and many values."""
    hour = random.integers(0, 24, n)
    busy = 1 + 3 * np.exp(-0.5 * ((hour - 17) / 4.0) ** 2)
    frame = pl.DataFrame({
        "date": [f"2026-{1 + k % 12:02d}-{1 + k % 28:02d}" for k in range(n)],
        "holiday": random.choice(["yes", "no"], n, p=[0.1, 0.9]),
        "hour": hour,
        "humidity": np.clip(random.normal(75, 18, n), 0, 100).round().astype(int),
        "casual": random.poisson(busy * random.gamma(0.7, 3.0, n)),
        "registered": random.poisson(busy * random.gamma(3.0, 25.0, n)),
    })  # fmt: skip
    detected = {"hour": "one of 24", "humidity": "bounded", "casual": "above -0.5", "registered": ""}
    return AnalystTable(frame, ("--exclude", "date,holiday"), detected)


def counties(random, n):
    """Counties: integers over five decades, areas of few decimals that repeat, shares that reach neither end."""
    size = random.lognormal(10.3, 1.1, n)
    frame = pl.DataFrame({
        "county": [f"county {k}" for k in range(n)],
        "population": size.round().astype(int),
        "area": (random.gamma(9.0, 0.004, n) + 0.005).round(3),
        "poverty": 100 * random.beta(3.0, 20.0, n),
        "metro": (size > 60_000).astype(int),
    })  # fmt: skip
    detected = {"population": "positive, above -0.5; rounded to 1", "metro": "one of 0, 1", "poverty": ""}
    return AnalystTable(frame, ("--exclude", "county"), detected)


def survival(random, n):
    """Patients: integer days, receptors with many zeros, counts from one, a flag, missing cells."""
    receptor = np.where(random.random(n) < 0.25, 0, random.lognormal(3.5, 1.5, n).round()).astype(int)
    nodes = 1 + random.negative_binomial(1, 0.2, n)
    frame = pl.DataFrame({
        "age": np.clip(random.normal(53, 10, n), 21, 80).round().astype(int),
        "nodes": nodes,
        "receptor": receptor,
        "days": (2600 * random.beta(1.5, 1.5, n) + 8).round().astype(int),
        "died": (random.random(n) < 0.3 + 0.01 * np.minimum(nodes, 30)).astype(int),
    })  # fmt: skip
    frame = frame.with_columns(pl.when(pl.Series(random.random(n) < 0.03)).then(None).otherwise("nodes").alias("nodes"))
    detected = {"age": "", "receptor": "", "days": "above -0.5; rounded to 1", "died": "one of 0, 1"}
    return AnalystTable(frame, ("--drop-na",), detected)


def nations(random, n):
    """Countries by year, as a context: life expectancy, populations beyond single precision, incomes."""
    year = random.choice(np.arange(1952, 2008, 5), n)
    income = random.lognormal(8.0 + 0.02 * (year - 1980), 1.1, n)
    frame = pl.DataFrame({
        "country": [f"country {k % 140}" for k in range(n)],
        "year": year,
        "life": (30 + 4.5 * np.log(income / 100) + random.normal(0, 5, n)).round(3),
        "population": random.lognormal(16.0, 1.5, n).round().astype(int),
        "income": income.round(4),
    })  # fmt: skip
    detected = {"life": "real", "population": "positive", "income": "positive"}
    return AnalystTable(frame, ("--exclude", "country", "--context", "year"), detected)


def affairs(random, n):
    """A survey: codes with gaps, ages and years of marriage in classes, a rating; a column of text."""
    years = random.choice([0.125, 0.417, 0.75, 1.5, 4.0, 7.0, 10.0, 15.0], n)
    frame = pl.DataFrame({
        "affairs": random.choice([0, 1, 2, 3, 7, 12], n, p=[0.75, 0.06, 0.03, 0.03, 0.07, 0.06]),
        "age": np.clip(17.5 + 5 * np.round((years + random.gamma(2.0, 3.0, n)) / 5), 17.5, 57.5),
        "married": years,
        "children": np.where(years > 3, "yes", "no"),
        "rating": random.choice([1, 2, 3, 4, 5], n),
    })  # fmt: skip
    detected = dict.fromkeys(("affairs", "married", "rating"), "one of")
    return AnalystTable(frame, ("--exclude", "children"), detected)


def airport(random, n):
    """Hourly weather: converted units, rain that is mostly 0, sight limited to 10, humidity limited to 100."""
    temperature = random.normal(55, 18, n)
    rain = np.where(random.random(n) < 0.9, 0.0, random.exponential(0.05, n)).round(2)
    frame = pl.DataFrame({
        "time": [f"2026-01-{1 + k // 24 % 28:02d} {k % 24:02d}:00" for k in range(n)],
        "temperature": (np.round((temperature - 32) / 1.8, 1) * 1.8 + 32).round(2),
        "humidity": np.minimum(random.normal(70, 25, n).round(2), 100.0),
        "wind": (random.poisson(9.0, n) * 1.15078).round(5),
        "rain": rain,
        "sight": np.where(random.random(n) < 0.8, 10.0, random.choice([0.25, 0.5, 1, 2, 3, 5, 7, 9], n)),
        "pressure": random.normal(1017, 7, n).round(1),
    })  # fmt: skip
    frame = frame.with_columns(
        pl.when(pl.Series(random.random(n) < 0.1)).then(None).otherwise("pressure").alias("pressure")
    )
    return AnalystTable(frame, ("--exclude", "time", "--drop-na"), {"rain": "", "sight": "one of 9"})


TABLES = (car_sharing, counties, survival, nations, affairs, airport)


def make(table, n=1000):
    """The table of one of `TABLES`, with n rows."""
    return table(np.random.default_rng(TABLES.index(table)), n)
