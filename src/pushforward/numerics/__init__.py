"""Numerical tools that know no bijections: derivatives, solvers, compiled programs."""
