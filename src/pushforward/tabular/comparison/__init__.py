"""Comparison of flows and classical densities fitted to the same rows."""

from pushforward.tabular.comparison.compare import DEFAULT_FLOWS, compare
from pushforward.tabular.comparison.entries import Entry, Leaderboard

__all__ = ["DEFAULT_FLOWS", "Entry", "Leaderboard", "compare"]
