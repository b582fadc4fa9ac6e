"""Numerical tools, independent of bijections: derivatives, solvers, compiled programs."""
