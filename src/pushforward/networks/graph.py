"""Directed acyclic graphs of dependence: their matrices, ranks and ancestors.

Everywhere `adjacency[i, j]` says that coordinate i depends on coordinate j: row i lists the parents of i.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from pushforward.errors import ShapeError

Adjacency: TypeAlias = np.ndarray | Sequence[Sequence[Any]] | Mapping[Any, Sequence[Any]]


def checked_adjacency(dim: int, adjacency: Any) -> np.ndarray:
    """The matrix (D, D), bool, of a graph: `adjacency[i, j]` says that coordinate i depends on coordinate j.

    Args:
        dim: number of coordinates D.
        adjacency: such a matrix, of bool or of zeros and ones (of a graph of NetworkX, whose rows are the sources,
            `networkx.to_numpy_array(graph).T`); or a dict of the parents of each coordinate, by index
            ({2: [0, 1]}; those without an entry have none) or by name ({"a": [], "b": ["a"], "c": ["a", "b"]}, with
            every column as a key, in the order of the columns).

    Raises:
        ShapeError: if the matrix is not (D, D), or the names are not D.
        ValueError: if the graph has a cycle, which the message names, or an entry is neither 0 nor 1.

    Example:
        >>> from pushforward.networks import checked_adjacency
        >>> print(checked_adjacency(3, {2: [0, 1]}).astype(int))
        [[0 0 0]
         [0 0 0]
         [1 1 0]]
    """
    if isinstance(adjacency, Mapping):
        labels, matrix = _from_parents(dim, adjacency)
    else:
        labels, matrix = list(range(dim)), checked_matrix("adjacency", adjacency, (dim, dim))
    if cycle := _cycle(matrix):
        names = [f"{labels[index]!r}" if isinstance(labels[index], str) else str(labels[index]) for index in cycle]
        raise ValueError(
            f"adjacency: expected a graph without cycles, got {' depends on '.join(names)}. Note that adjacency[i, j] "
            "says that i depends on j; leave out one of these dependences."
        )
    return matrix


def checked_matrix(name: str, matrix: Any, shape: tuple[int, int]) -> np.ndarray:
    """A matrix of bool from one of bool or of zeros and ones."""
    array = np.asarray(matrix)
    if array.shape != shape:
        raise ShapeError(f"{name}: expected a matrix of shape {shape}, got shape {array.shape}.")
    wrong = array[~np.isin(array, (0, 1))] if array.dtype.kind in "biuf" else array.reshape(-1)
    if wrong.size:
        raise ValueError(f"{name}: expected bool, or zeros and ones, got {wrong[0]!r} of type {array.dtype}.")
    return array.astype(bool)


def ranks_of(adjacency: np.ndarray) -> np.ndarray:
    """(D,) the length of the longest path of parents that leads to each coordinate; 0 without parents.

    >>> print(ranks_of(checked_adjacency(4, {1: [0], 2: [1], 3: [0]})))
    [0 1 2 1]
    """
    ranks = np.zeros(len(adjacency), int)
    for _ in range(len(adjacency)):
        longer = np.where(adjacency, ranks + 1, 0).max(1, initial=0)
        if (longer == ranks).all():
            break
        ranks = longer
    return ranks


def ancestors_of(adjacency: np.ndarray) -> np.ndarray:
    """(D, D) bool, whether coordinate j is a parent of i, or a parent of a parent, and so on.

    >>> print(ancestors_of(checked_adjacency(3, {1: [0], 2: [1]})).astype(int))
    [[0 0 0]
     [1 0 0]
     [1 1 0]]
    """
    reached = adjacency.copy()
    for middle in range(len(adjacency)):
        reached |= np.outer(reached[:, middle], reached[middle])
    return reached


def _from_parents(dim: int, parents: Mapping[Any, Sequence[Any]]) -> tuple[list[Any], np.ndarray]:
    """The labels of the coordinates, and the matrix of a dict of parents."""
    by_name = any(isinstance(key, str) for key in parents)
    labels = list(parents) if by_name else list(range(dim))
    if by_name and len(labels) != dim:
        raise ShapeError(
            f"adjacency: expected every one of {dim} columns as a key, in the order of the columns, got {labels}."
        )
    position = {label: index for index, label in enumerate(labels)}
    matrix = np.zeros((dim, dim), bool)
    for child, given in parents.items():
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise ValueError(f"adjacency: expected a list of the parents of {child!r}, got {given!r}.")
        for label in (child, *given):
            if label not in position:
                raise ValueError(f"adjacency: expected coordinates among {labels}, got {label!r}.")
        matrix[position[child], [position[parent] for parent in given]] = True
    return labels, matrix


def _cycle(adjacency: np.ndarray) -> list[int]:
    """Coordinates that depend on one another in a circle, the first one again at the end; empty if there are none."""
    left = np.ones(len(adjacency), bool)
    while (free := left & ~adjacency[:, left].any(1)).any():  # those whose parents are all gone
        left &= ~free
    path: list[int] = []
    index = int(left.argmax()) if left.any() else -1
    while index >= 0 and index not in path:
        path.append(index)
        index = int((adjacency[index] & left).argmax())  # each of those left has a parent among them
    return [*path[path.index(index) :], index] if path else []
