"""A parallel map over a stream that keeps the order of its items."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

_MAX_THREADS = 8


def ordered_map(work: Callable[[Any], Any], items: Iterable[Any], workers: int) -> Iterator[Any]:
    """`map(work, items)` in several threads, at most one item per worker ahead of the results that are read.

    The calling thread draws the items while the workers process earlier ones.

    Args:
        work: function of one item. Threads help only if it releases the interpreter lock.
        items: any iterable.
        workers: number of threads, at least 1.

    Raises:
        Whatever `work` and `items` raise, when the result of that item is read.

    >>> list(ordered_map(abs, [-1, 2, -3], 2))
    [1, 2, 3]
    """
    futures: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                futures.append(pool.submit(work, item))
                if len(futures) > workers:
                    yield futures.popleft().result()
            while futures:
                yield futures.popleft().result()
        finally:
            for future in futures:
                future.cancel()


def cores() -> int:
    """Number of useful threads: the processors that this process may use, 8 at most."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(count, _MAX_THREADS)
