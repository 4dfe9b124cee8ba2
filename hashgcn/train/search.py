"""Which settings a run tries: changes of one setting at a time, judged on a part of train."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from hashgcn.train.checkpoint import Entry, Trial, scores_of

# Fewer held-out pairs say little about a setting: with 300, one pair is 0.3% of recall.
LEAST_PAIRS = 300
# The factors of the number of epochs: doubled, or cut to the best epoch.
_EPOCHS = (2.0, 0.0)
# A trial ends early if it falls behind the best one by this fraction, both after the same number of
# epochs, at least 2. Changes that won in the end were at most 4% behind after 2 epochs.
_BEHIND = 0.05
# What a change has to gain in the metric, as a fraction: seeds alone differ by as much.
_GAIN = 0.005

Changes = dict[str, Any]


@dataclass(frozen=True)
class Search:
    """Coordinate search over settings: the best trial so far is changed in one setting at a time.

    A setting's value is multiplied by one of its factors, and by the same again as long as that
    helps; only if the first factor does not help, the next one is tried. The number of epochs is
    doubled where a trial was best in its second half, or set to the epoch at which it was best, so
    that the learning rate falls to 0 by then; this is kept unless it loses. After the last setting
    it is the first one's turn again, until no change helps or there are as many trials as allowed.

    What is tried next depends on the trials so far alone, so that a resumed run tries the same.

    Args:
        start: the values of the settings that may be changed, in the order of their turns.
        factors: of each of them; () of "epochs".
        most: largest number of trials; the first is of the settings as they are.
        metric: the validation metric that decides, by its best epoch.
        possible: whether there are such settings; changes that there are not are not tried.
    """

    start: dict[str, float]
    factors: dict[str, tuple[float, ...]]
    most: int
    metric: str
    possible: Callable[[Changes], bool] = lambda changes: True

    def after(self, trials: list[Trial], held_out: int) -> tuple[Trial, Changes | None]:
        """The best of some trials, and what to try next; None if the search is over.

        Args:
            trials: in the order in which they were proposed, the first with the settings as given.
            held_out: the number of pairs that the metric is measured on.
        """
        plan = self._plan(trials[0])
        best, following = next(plan)
        for trial in trials[1:]:
            best, following = plan.send(trial)
        over = len(trials) >= self.most or held_out < LEAST_PAIRS
        return best, None if over else following

    def is_hopeless(self, trials: list[Trial], history: list[Entry]) -> bool:
        """Whether a trial that follows others has fallen behind the best of them."""
        mine = scores_of(history, self.metric)
        if not trials or len(mine) < 2:
            return False
        best, _ = self.after(trials, LEAST_PAIRS)
        its = scores_of(best["history"], self.metric)[: len(mine)]
        return max(mine) < (1 - _BEHIND) * max(its)

    def _plan(self, best: Trial) -> Generator[tuple[Trial, Changes | None], Trial, None]:
        """Yields the best trial and the next change, and is sent the trial of that change."""
        tried, helped = [best["changes"]], True
        while helped:
            helped = False
            for name in self.start:
                for factor in self.factors[name] or _EPOCHS:
                    before = best
                    while (changes := self._changed(best, name, factor)) not in tried:
                        tried.append(changes)
                        if not self.possible(changes):
                            break
                        trial = yield best, changes
                        if not self._gains(trial, best):
                            break
                        best = trial
                    if best is not before:
                        helped = True
                        break
        yield best, None

    def _gains(self, trial: Trial, best: Trial) -> bool:
        """Whether a trial is better by enough; one of fewer epochs need not be worse."""
        mine, its = (x["changes"].get("epochs", self.start.get("epochs")) for x in (trial, best))
        if mine is not None and its is not None and mine < its:
            return self._score(trial) >= self._score(best)
        return self._score(trial) > (1 + _GAIN) * self._score(best)

    def _score(self, trial: Trial) -> float:
        return max(scores_of(trial["history"], self.metric))

    def _changed(self, best: Trial, name: str, factor: float) -> Changes:
        """The changes of the best trial, with another value of one setting."""
        value = best["changes"].get(name, self.start[name])
        changed: float
        if name == "epochs":
            scores = scores_of(best["history"], self.metric)
            epoch = scores.index(max(scores)) + 1
            doubled = 2 * value if 2 * epoch > value else value
            changed = doubled if factor else epoch
        elif isinstance(value, int):
            changed = round(value * factor)
        else:
            changed = float(f"{value * factor:.3g}")
        changes = best["changes"] | {name: changed}
        return {k: v for k, v in changes.items() if v != self.start[k]}
