"""Summary of a stream of scores that does not fit in memory: exact moments, and quantiles of a random sample."""

import numpy as np

SAMPLE = 2**17


class ScoreSummary:
    """Count, mean and minimum of all scores, and quantiles of a uniform sample of at most `SAMPLE` of them.

    Each score gets a random number, and the sample holds the scores with the smallest ones: it is uniform, however the
    scores are batched. The share p below a quantile of 2^17 scores has the standard error sqrt(p (1 - p) / 2^17),
    0.03 % where p = 1 %.

    A score of -inf (a row outside the support of a column, or so far out that its density underflows) is counted in
    `outside` and is not in the mean.

    Args:
        seed: seed of the random numbers.

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
        self._sample, self._priorities = np.empty(0), np.empty(0)

    def add(self, scores: np.ndarray, numbers: np.ndarray) -> None:
        """Add scores (n,) of the rows with these numbers (n,)."""
        if not len(scores):
            return
        if not self.rows or scores.min() < self.lowest:
            self.lowest, self.lowest_row = float(scores.min()), int(numbers[scores.argmin()])
        finite = scores[~np.isneginf(scores)]
        self._sum += float(finite.sum())
        self.outside += len(scores) - len(finite)
        self.rows += len(scores)
        self._sample = np.concatenate([self._sample, scores])
        self._priorities = np.concatenate([self._priorities, self._random.random(len(scores))])
        if len(self._sample) > SAMPLE:
            smallest = np.argpartition(self._priorities, SAMPLE)[:SAMPLE]
            self._sample, self._priorities = self._sample[smallest], self._priorities[smallest]

    @property
    def mean(self) -> float:
        """Mean of the finite scores; NaN if there is none."""
        return self._sum / (self.rows - self.outside) if self.rows > self.outside else np.nan

    @property
    def is_exact(self) -> bool:
        """Whether the quantiles are those of all scores."""
        return self.rows == len(self._sample)

    def quantiles(self, shares: list[float]) -> list[float]:
        """Quantiles of the scores at these levels, from 0 to 1."""
        with np.errstate(invalid="ignore"):  # interpolation between -inf and a number is NaN
            between, below = np.quantile(self._sample, shares), np.quantile(self._sample, shares, method="lower")
        return [float(value) for value in np.where(np.isneginf(below), below, between)]
