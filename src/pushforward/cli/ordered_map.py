"""Work on the items of a stream by several threads, the results in the order of the items."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

_MOST = 8


def ordered_map(work: Callable[[Any], Any], items: Iterable[Any], workers: int) -> Iterator[Any]:
    """`map(work, items)`, ahead of what is asked for by one item a worker.

    The items are drawn by the thread that asks for the results, while the workers are busy with earlier ones.

    Args:
        work: what is done with an item; it must not hold the interpreter for long, or threads gain nothing.
        items: any number of them.
        workers: threads, at least 1.

    Raises:
        Whatever `work` and `items` raise, in the place of that item's result.

    >>> list(in_order(abs, [-1, 2, -3], 2))
    [1, 2, 3]
    """
    waiting: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def cores() -> int:
    """How many threads are worth having on this machine: its processors that are ours, 8 at most."""
    ours = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(ours, _MOST)
