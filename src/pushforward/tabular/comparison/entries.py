"""Results of a comparison: an entry for each model, and the chosen flow."""

import dataclasses
from typing import Any

# keys of `Leaderboard.to_dict`, and so of the JSON output of `pushforward compare`, by attributes of an entry
_KEYS = {
    "validation_log_likelihood": "validation_nats",
    "test_log_likelihood": "test_nats",
    "test_log_likelihood_without_copies": "test_nats_without_copies",
}


@dataclasses.dataclass(frozen=True)
class Entry:
    """One model of a `Leaderboard`, with means over the folds; training, choice and test use different rows.

    Attributes:
        name: of the flow or the baseline.
        is_flow: whether it is a flow.
        validation_log_likelihood: mean log-likelihood per validation row, in nats; None for a baseline.
        test_log_likelihood: the same per test row, in the units of the data.
        standard_error: of that mean, over all test rows.
        folds: test log-likelihood of each fold.
        fit_seconds: for a fold, compilation included.
        score_seconds: for the test rows of a fold.
        sample_seconds: for a thousand samples; None for a baseline.
        peak_megabytes: peak memory of the process meanwhile; None where the system does not measure it.
        parameters: trained numbers; None for a baseline.
        setting: that was chosen in the first fold, as text.
        n_test_copies: number of test rows of all folds that equal another row of their fold, context included.
        test_log_likelihood_without_copies: mean log-likelihood of the other test rows; None if there are none.
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
    """Results of `compare`.

    Attributes:
        entries: of all models, the best on the test rows first.
        chosen: name of the flow with the best mean on the validation rows of all folds: the one to use. With several
            folds these are test rows of other folds, so the choice biases its test log-likelihood, but not
            `chosen_log_likelihood`.
        picks: names of the flows that are best on the validation rows of each fold.
        is_bound: whether scores are bounds of log-masses in some columns.
        schema: of the columns, as inferred in the first fold.
        margin_error: standard error of the margin, from the differences of single test rows, or groups; None if a row
            has no finite score.
    """

    entries: tuple[Entry, ...]
    chosen: str
    picks: tuple[str, ...]
    is_bound: bool
    schema: Any
    margin_error: float | None = None

    def entry(self, name: str) -> Entry:
        """The entry of the model with this name."""
        return next(entry for entry in self.entries if entry.name == name)

    @property
    def n_folds(self) -> int:
        """Number of folds."""
        return len(self.picks)

    @property
    def chosen_log_likelihood(self) -> float:
        """Mean over folds of the test log-likelihood of the flow that is best on the fold's validation rows."""
        return sum(self.entry(name).folds[fold] for fold, name in enumerate(self.picks)) / len(self.picks)

    @property
    def margin(self) -> float:
        """`chosen_log_likelihood` minus the test log-likelihood of `rival`."""
        return self.chosen_log_likelihood - self.rival.test_log_likelihood

    @property
    def rival(self) -> Entry:
        """The better of the Gaussian and the mixture; kernels are left out."""
        return max(
            (e for e in self.entries if not e.is_flow and e.name != "Kernel density"),
            key=lambda e: e.test_log_likelihood,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values; infinite scores remain floats, which strict JSON does not allow."""
        plain = [dataclasses.asdict(entry) | {"folds": list(entry.folds)} for entry in self.entries]
        entries = [{_KEYS.get(name, name): value for name, value in entry.items()} for entry in plain]
        return {
            "entries": entries, "chosen": self.chosen, "picks": list(self.picks),
            "chosen_nats": self.chosen_log_likelihood,
            "margin": self.margin, "margin_error": self.margin_error,
            "folds": self.n_folds, "is_bound": self.is_bound, "plan": self.schema.to_dict(),
        }  # fmt: skip
