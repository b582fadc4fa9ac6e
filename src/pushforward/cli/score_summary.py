"""What is said of scores that are too many to be kept: exact where that takes no memory, else from a random sample."""

import numpy as np

SAMPLE = 2**17


class ScoreSummary:
    """Number, mean and lowest of all scores; quantiles of up to `SAMPLE` of them, each as likely to be there.

    Every score draws a random number, and those with the smallest ones are kept: a uniform sample whatever the batches.
    Of a share p below, a quantile of 2^17 scores is off by sqrt(p (1 - p) / 2^17), 0.03 % where p = 1 %.

    A score of -inf, of a row outside the support of a column, is counted by itself (`outside`) and is not in the mean.

    Args:
        seed: of the random numbers.

    >>> summary = ScoreSummary(0)
    >>> for scores in (np.array([1.0, -2.0]), np.array([4.0])):
    ...     summary.add(scores, summary.rows + 1 + np.arange(len(scores)))
    >>> summary.rows, summary.mean, summary.lowest, summary.lowest_row, summary.quantiles([0.5])
    (3, 1.0, -2.0, 2, [1.0])
    >>> summary.add(np.array([-np.inf, -np.inf, -np.inf]), np.arange(4, 7))
    >>> summary.outside, summary.quantiles([0.1, 0.5, 0.9])
    (3, [-inf, -inf, 2.5])
    """

    def __init__(self, seed: int) -> None:
        self.rows, self.outside, self.lowest, self.lowest_row = 0, 0, np.inf, 0
        self._sum, self._random = 0.0, np.random.default_rng(seed)
        self._kept, self._draws = np.empty(0), np.empty(0)

    def add(self, scores: np.ndarray, numbers: np.ndarray) -> None:
        """Take the next scores (n,) into account, of the rows of these numbers (n,)."""
        if not len(scores):
            return
        if not self.rows or scores.min() < self.lowest:
            self.lowest, self.lowest_row = float(scores.min()), int(numbers[scores.argmin()])
        inside = scores[~np.isneginf(scores)]
        self._sum += float(inside.sum())
        self.outside += len(scores) - len(inside)
        self.rows += len(scores)
        self._kept = np.concatenate([self._kept, scores])
        self._draws = np.concatenate([self._draws, self._random.random(len(scores))])
        if len(self._kept) > SAMPLE:
            smallest = np.argpartition(self._draws, SAMPLE)[:SAMPLE]
            self._kept, self._draws = self._kept[smallest], self._draws[smallest]

    @property
    def mean(self) -> float:
        """Of all scores but those of -inf; NaN where there is none."""
        return self._sum / (self.rows - self.outside) if self.rows > self.outside else np.nan

    @property
    def is_exact(self) -> bool:
        """Whether the quantiles are those of all scores."""
        return self.rows == len(self._kept)

    def quantiles(self, shares: list[float]) -> list[float]:
        """The scores that lie above these shares of all, from 0 to 1."""
        with np.errstate(invalid="ignore"):  # between -inf and a number nothing lies in the middle
            between, below = np.quantile(self._kept, shares), np.quantile(self._kept, shares, method="lower")
        return [float(value) for value in np.where(np.isneginf(below), below, between)]
