"""An answer in words: three lines that answer, then the rest by importance.

Each workload has sentences of its own. Every number in them stands in the answer, rounded.
"""

from collections.abc import Sequence
from itertools import combinations

from optsweep.records.values import label
from optsweep.verdict.scores.answer import Answer, Candidate, Comparison, Workload
from optsweep.verdict.scores.phrases import (
    SURE,
    Amounts,
    be_excluded,
    counted,
    listed,
    p_value,
    plain,
    seed_count,
)
from optsweep.verdict.scores.settling import MOST_SEEDS

_MOST = 6  # names, and sentences of a kind, on one line or page
_UNFAIR = 2.0  # times as many runs or configurations as another has, beyond which it is said first
_NO_MORE = {
    "holds only without lost runs": "a difference holds only without the runs that were lost",
    "dropped": "no more seeds were run, as another candidate beats one of the two",
    "beyond seeds": "more seeds cannot decide it on these test samples",
}


def answer_lines(
    answer: Answer, workload: Workload, tuning: str = "configuration", judged_on: str = "test"
) -> list[str]:
    """The answer in three lines: which candidate, which configurations, how sure.

    Where candidates were given very different numbers of configurations or runs, a warning stands
    before them. `tuning` is what a configuration is called: a learning rate, perhaps. `judged_on`
    is what the samples are called that judge.
    """
    if not workload.best:
        return ["No run finished: there is nothing to judge."]
    said = _Words(answer, workload, tuning, judged_on)
    return plain([said.unequal(), said.which(), said.configurations(), said.how_sure()])


def sentences(answer: Answer, workload: Workload) -> list[str]:
    """All that the answer says about one workload, the most important first."""
    next_one = plain([what_next(answer, workload)]) if workload.best else []
    return [*answer_lines(answer, workload), *next_one, *further_lines(answer, workload)]


def what_next(answer: Answer, workload: Workload, confirming: str = "") -> str:
    """What to run next, where that would help; `confirming` says how a sweep does it."""
    return _Words(answer, workload).what_next(confirming)


def further_lines(answer: Answer, workload: Workload) -> list[str]:
    """What stands behind the answer: comparisons, scores, what each was given and lost."""
    if not workload.best:
        return []
    said = _Words(answer, workload)
    return plain([*said.comparisons(), *said.scores(), said.given(), said.lost()])


class _Words(Amounts):
    """The sentences about one workload."""

    def unequal(self) -> str:
        """A warning that stands first: some had far more chances than others."""
        for what, field in (("configurations", "configurations"), ("runs to tune", "runs_to_tune")):
            ordered = sorted((getattr(each, field), each.name) for each in self.scored)
            (few, least), (many, most) = ordered[0], ordered[-1]
            if many > _UNFAIR * few:
                return f"Not given the same: {most} had {many:,} {what}, {least} {few:,}."
        return ""

    def which(self) -> str:
        """Which candidate is best, and by how much the others are worse."""
        best = self.workload.best
        if len(self.workload.candidates) == 1:
            return "" if self.scored[0].configurations > 1 else f"{best[0]} is the only candidate."
        parts = [self._best(best), *self._worse(best)]
        if lost := [each.name for each in self.workload.candidates if not each.score]:
            parts.append(f"No run of {listed(lost)} finished.")
        return " ".join(parts)

    def _best(self, best: Sequence[str]) -> str:
        pairs = [self._pair(*two) for two in combinations(best, 2)]
        if len(best) == 1:
            if len(self.scored) == 1:
                return f"{best[0]} is the only candidate with a finished run."
            is_led = any(pair.outcome == "leads" for pair in self.workload.comparisons)
            return f"{best[0]} leads, not confirmed." if is_led else f"{best[0]} is best."
        if all(pair.outcome in ("equivalent", "beats_within_margin") for pair in pairs):
            return (
                f"{listed(best, 'or')}: no practical difference (within {self.margin}, "
                f"{seed_count(min(pair.seeds for pair in pairs))})."
            )
        return f"Undecided between {listed(best)}."

    def _worse(self, best: Sequence[str]) -> list[str]:
        """The others, each beside the first of the best that is better."""
        parts = []
        behind = [each for each in self.scored if each.name not in best]
        for each in behind[:_MOST]:
            ahead = [
                pair
                for pair in self.workload.comparisons
                if pair.second == each.name and pair.outcome in ("beats", "leads")
            ]
            pair = min(ahead, key=lambda pair: [e.name for e in self.scored].index(pair.first))
            is_beaten, is_several = pair.outcome == "beats", len(best) > 1
            than = f"{' than' if is_beaten else ''} {pair.first}" if is_several else ""
            by = f"{self.difference(pair.low or 0)} to {self.amount(pair.high or 0)}"
            parts.append(f"{each.name} is {'worse' if is_beaten else 'behind'}{than} by {by}.")
        return parts + (["Others are behind too."] if len(behind) > _MOST else [])

    def _pair(self, first: str, second: str) -> Comparison:
        pairs = self.workload.comparisons
        return next(pair for pair in pairs if {pair.first, pair.second} == {first, second})

    def configurations(self) -> str:
        """Which configurations may be the best of each candidate."""
        several = [each for each in self.scored if each.configurations > 1]
        if not several:
            return f"Each candidate has one {self.tuning}." if len(self.scored) > 1 else ""
        if len(self.workload.candidates) == 1:
            (only,) = several
            if self._is_any(only):
                able = f"any of {only.configurations:,} ({SURE}), chosen {only.chosen}"
            else:
                able = f"{self._may_be_best(only)} ({SURE}){be_excluded(only.excluded[:_MOST])}"
            return f"Best {self.tuning} for {only.name}: {able}."
        parts = [f"{each.name} {self._may_be_best(each)}" for each in several[:_MOST]]
        more = "; for others see the file" if len(several) > _MOST else ""
        return f"Best {self.tuning} ({SURE}): {'; '.join(parts)}{more}."

    def _may_be_best(self, candidate: Candidate) -> str:
        able = candidate.not_excluded
        if self._is_any(candidate):
            return f"any of {len(able):,} (chosen {candidate.chosen})"
        return listed([*able[:_MOST], *(["others"] if len(able) > _MOST else [])], "or")

    def _is_any(self, candidate: Candidate) -> bool:
        return len(candidate.not_excluded) == candidate.configurations > 2

    def how_sure(self) -> str:
        """How sure the first line is, and of what."""
        pairs = self.workload.comparisons
        if not pairs:
            return self._how_sure_alone()
        if max(pair.seeds for pair in pairs) < 2:
            return "How sure: not at all, one shared seed is not enough to decide."
        if not all(pair.outcome != "leads" and pair.reason != "not confirmed" for pair in pairs):
            return "How sure: not yet, the runs that chose a configuration also judge it."
        few, many = min(pair.seeds for pair in pairs), max(pair.seeds for pair in pairs)
        at = seed_count(many) if few == many else f"{few} to {seed_count(many)}"
        new = all(pair.samples for pair in pairs)
        these = f"on these {self.judged_on} samples, not on new ones"
        on = f"on new {self.judged_on} samples" if new else these
        family = f" for {self.answer.pairs:,} comparisons together" if self.answer.pairs > 1 else ""
        looks = f" in looks at {listed(list(map(str, self.answer.looks)))}"
        at += looks if self.answer.looks else ""
        return f"How sure: {SURE}{family}, at {at}, {on}."

    def _how_sure_alone(self) -> str:
        (only, *others) = self.scored
        if others or only.configurations < 2:
            return "There is no other candidate to compare with."
        if only.runs_to_tune <= only.configurations:
            return f"How sure: not at all, one seed for each {self.tuning} is not enough to decide."
        return f"How sure: {SURE} that the best is named, on the data that chose."

    def what_next(self, confirming: str) -> str:
        """What to run next, where that would help."""
        chose = [e for e in self.scored if not e.is_confirmed]
        pairs = self.workload.comparisons
        if confirming and pairs and (chose or max(pair.seeds for pair in pairs) < 2):
            return f"To confirm at fresh seeds, {confirming}"
        if chose and len(self.scored) > 1:
            named = listed([f"{e.name} {e.chosen}".strip() for e in chose[:_MOST]])
            return f"To confirm, run {named} at fresh seeds, as rows of the phase confirm."
        open_pairs = [pair for pair in self.workload.comparisons if pair.outcome == "undecided"]
        if not open_pairs:
            return ""
        pair = open_pairs[0]
        if pair.samples_to_settle and pair.samples:
            return (
                f"No number of seeds settles a difference of {self.margin} between {pair.first} "
                f"and {pair.second}: it takes about {pair.samples_to_settle:,} test samples, "
                f"not {pair.samples:,}."
            )
        return ""

    def comparisons(self) -> list[str]:
        """A sentence for each pair."""
        every = [self._comparison(pair) for pair in self.workload.comparisons]
        more = [] if len(every) <= _MOST else ["More comparisons are in the file."]
        return [*every[:_MOST], *more]

    def _comparison(self, pair: Comparison) -> str:
        first, second = self._at(pair.first), self._at(pair.second)
        undecided = f"Undecided between {first} and {second}"
        if pair.difference is None:
            return f"{undecided}: they share no seed."
        by = self.amount(pair.difference)
        if pair.seeds < 2:
            return f"{undecided}: {by} at one seed.{self._networks(pair)}"
        if pair.low is None or pair.high is None or pair.p_holm is None:
            has_none = pair.reason == "no spread"
            why = "no spread to judge chance by" if has_none else "it hangs on runs that failed"
            return f"{undecided}: {by} at {seed_count(pair.seeds)}, {why}."
        between = f"{self.difference(pair.low)} to {self.amount(pair.high)}"
        chance = f"{100 * pair.interval_level:.3g} % interval {between}, {p_value(pair.p_holm)}"
        words = {
            "beats": f"{first} beats {second} by {by} ({chance})",
            "beats_within_margin": f"{first} beats {second} by {by}, by less than the margin of "
            f"{self.margin} ({chance})",
            "equivalent": f"{first} and {second} are equivalent within {self.margin} "
            f"({p_value(pair.p_equivalent_holm or 0.0)}): {by} ({chance})",
            "leads": f"{first} leads {second} by {by}, not confirmed ({chance})",
            "undecided": f"{undecided}: {by} ({chance})",
        }[pair.outcome]
        return f"{words}{self._but(pair)}.{self._these(pair)}"

    def _at(self, name: str) -> str:
        chosen = self.workload.candidate(name).chosen
        return f"{name} at {chosen}" if chosen else name

    def _but(self, pair: Comparison) -> str:
        if pair.reason in _NO_MORE:
            return f"; {_NO_MORE[pair.reason]}"
        if pair.outcome == "undecided" and pair.seeds_low:
            most = f"{pair.seeds_high:,}" if pair.seeds_high else f"more than {MOST_SEEDS:,}"
            return (
                f"; {pair.seeds_low:,} to {most} fresh seeds would settle a difference of "
                f"{self.margin}"
            )
        return ""

    def _these(self, pair: Comparison) -> str:
        here = pair.these_samples
        if here is None or here.low is None or here.high is None:
            return ""
        between = f"{self.difference(here.low)} to {self.amount(here.high)}"
        return f" On these {pair.samples:,} test samples alone: {between}."

    def _networks(self, pair: Comparison) -> str:
        if pair.networks is None:
            return ""
        found = pair.networks
        return (
            f" Of these two networks alone, {pair.first}'s has {found.only_first:,} samples right "
            f"that the other has wrong, {pair.second}'s {found.only_second:,} (McNemar, "
            f"{p_value(found.p)})."
        )

    def scores(self) -> list[str]:
        """Each candidate's score with its interval."""
        lines = []
        for each in self.scored[:_MOST]:
            assert each.score is not None
            score, of = each.score, seed_count(each.score.seeds)
            if score.low is not None and score.high is not None:
                of = f"{SURE} interval {label(score.low, 4)} to {label(score.high, 4)}, {of}"
            lines.append(f"{self._at(each.name)}: {label(score.mean, 4)} ({of}).")
        return lines

    def given(self) -> str:
        """How many configurations and runs each candidate had, those with as many together."""
        alike: dict[str, list[str]] = {}
        for each in self.workload.candidates:
            runs = (
                f"{counted(each.configurations, 'configuration')} and {counted(each.runs, 'run')}"
            )
            alike.setdefault(runs, []).append(each.name)
        if len(alike) == 1 < len(self.workload.candidates):
            return f"Given: {next(iter(alike))} each."
        parts = [
            f"{listed(names)} {runs}{' each' * (len(names) > 1)}" for runs, names in alike.items()
        ]
        return f"Given: {', '.join(parts[:_MOST])}{', others in the file' * (len(parts) > _MOST)}."

    def lost(self) -> str:
        """The runs that were lost among those that judge, and what they count."""
        parts = []
        for each in self.workload.candidates:
            runs = counted(each.judged_runs, "run")
            if each.diverged and each.diverged_low is not None and each.diverged_high is not None:
                rate = f"{each.diverged_low:.2f} to {each.diverged_high:.2f}"
                of = f"{each.diverged:,} of {runs} ({SURE} interval {rate})"
                parts.append(f"{each.name} diverged in {of}")
            if each.failed:
                parts.append(f"{each.name} failed in {each.failed:,} of {runs}")
        if not parts:
            return ""
        worth = label(self.workload.lost_counts_as, 4)
        return f"{', '.join(parts[:_MOST])}; each counts as {worth}."
