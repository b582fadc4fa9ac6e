"""Leaderboards: flows and classical densities fitted to the same rows."""

from pushforward.leaderboard.compare import DEFAULT_FLOWS, compare
from pushforward.leaderboard.entries import Entry, Leaderboard

__all__ = ["DEFAULT_FLOWS", "Entry", "Leaderboard", "compare"]
