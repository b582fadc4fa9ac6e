"""What a comparison found: one line for each model, and which flow was chosen."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Entry:
    """One model of a `Leaderboard`: means over the folds, each of which is trained, chosen and tested on other rows.

    Attributes:
        name: of the flow or the baseline.
        is_flow: whether it is a flow.
        validation_log_likelihood: mean log-likelihood per validation row, in nats; None for a baseline, which reports
            none.
        test_log_likelihood: the same per test row, in the data's own units.
        standard_error: of that mean, over all test rows.
        folds: test nats of each fold.
        fit_seconds: a fold, compilation included.
        score_seconds: for the test rows of a fold.
        sample_seconds: for a thousand samples; None for a baseline.
        peak_megabytes: largest memory of the whole process meanwhile, or None where the system does not tell.
        parameters: trained numbers; None for a baseline.
        setting: what was chosen in the first fold, in words.
        n_test_copies: test rows of all folds that have an equal row, context included, among the others of their fold.
        test_log_likelihood_without_copies: mean log-likelihood per test row of those that have none; None where all
            have.
    """

    name: str
    is_flow: bool
    validation_log_likelihood: float | None
    test_log_likelihood: float
    standard_error: float
    folds: tuple[float, ...]
    fit_seconds: float
    score_seconds: float
    sample_seconds: float | None
    peak_megabytes: float | None
    parameters: int | None
    setting: str
    n_test_copies: int = 0
    test_log_likelihood_without_copies: float | None = None


@dataclasses.dataclass(frozen=True)
class Leaderboard:
    """What `compare` found.

    Attributes:
        entries: best on the test rows first.
        chosen: name of the flow with the best mean on the validation rows of all folds: the one to take. With several
            folds these are test rows of other folds, so its own test nats are not free of the choice;
            `chosen_log_likelihood` is.
        picks: names of the flows that are best on the validation rows of each fold.
        is_bound: whether scores are bounds of log-masses in some columns, which the plan says.
        plan: of the columns, as the first fold's training rows showed it.
        margin_error: standard error of the margin, by the differences of single test rows, or groups; None where a row
            has no finite score.
    """

    entries: tuple[Entry, ...]
    chosen: str
    picks: tuple[str, ...]
    is_bound: bool
    plan: Any
    margin_error: float | None = None

    def entry(self, name: str) -> Entry:
        """The model of that name."""
        return next(entry for entry in self.entries if entry.name == name)

    @property
    def n_folds(self) -> int:
        """Number of folds."""
        return len(self.picks)

    @property
    def chosen_log_likelihood(self) -> float:
        """Test nats of the flows that their fold's own validation rows choose: no score of a test row is looked at."""
        return sum(self.entry(name).folds[fold] for fold, name in enumerate(self.picks)) / len(self.picks)

    @property
    def margin(self) -> float:
        """`chosen_log_likelihood` less the test nats of the best baseline but the kernels (Gaussian and mixture)."""
        return self.chosen_log_likelihood - self.rival.test_log_likelihood

    @property
    def rival(self) -> Entry:
        """The best baseline but the kernels."""
        return max(
            (e for e in self.entries if not e.is_flow and e.name != "Kernel density"),
            key=lambda e: e.test_log_likelihood,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values; a score of minus infinity stays one, which JSON has no word for."""
        entries = [dataclasses.asdict(entry) | {"folds": list(entry.folds)} for entry in self.entries]
        return {
            "entries": entries, "chosen": self.chosen, "picks": list(self.picks),
            "chosen_log_likelihood": self.chosen_log_likelihood,
            "margin": self.margin, "margin_error": self.margin_error,
            "folds": self.n_folds, "is_bound": self.is_bound, "plan": self.plan.to_dict(),
        }  # fmt: skip
