"""Suggest the values of the next trial. The sampler keeps no state of its own: all that it knows is in the ledger.

Suggestions are made in a study in memory, where one that the filters rule out costs nothing. They go into the ledger in
one step.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import optuna
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from mt_sweeps.errors import SweepError
from mt_sweeps.search_space.space import Space, Suggester
from mt_sweeps.spec.sections import Sampler
from mt_sweeps.spec.sweep_spec import Values
from mt_sweeps.storage import optuna_private
from mt_sweeps.study.trial import EarlierTrial, Origin

# A trial that failed because of its values counts as the worst possible. Lost workers and bugs say nothing of values.
ITS_OWN_FAULT = {"diverged", "collapsed", "out_of_memory", "no_consistency", "refused"}
_WORST = 1.0
_SAMPLED, _DRAWN = 20, 10_000  # suggestions of the sampler, then random draws, until one passes the filters
# The cost of TPE grows with the trials that it sees (0.3 s of CPU per suggestion at 10,000), though it only models
# where the best 25 are and where the others are. So it sees the newest one to two thousand, and the best before them.
NEWEST, _BEST = 1_000, 100
_ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
_BLIND = 10  # trials that have ended before a model suggests any; Optuna's default


@dataclass(frozen=True)
class Suggestion:
    """The values of a new trial.

    Attributes:
        values: under the keys of the file.
        origin: who chose them.
        template: the trial as the ledger is to have it, RUNNING.
    """

    values: Values
    origin: Origin
    template: FrozenTrial


@dataclass(frozen=True)
class _Known:
    """A trial of an earlier sweep: the parameters that its values fix, its error, and a trial with all parameters."""

    params: Values
    error: float
    template: optuna.Trial


class ArmSampler:
    """The sampler of one arm.

    Args:
        settings: which sampler, and its seed.
        space: what is searched.
        past: the trials that the ledger has of this arm; not needed unless `is_model_based`.
        earlier: trials of earlier sweeps.
    """

    def __init__(
        self, settings: Sampler, space: Space, past: Iterable[FrozenTrial], earlier: Sequence[EarlierTrial] = ()
    ) -> None:
        self._settings = settings
        self._space = space
        self._earlier = self._known(earlier) if self._is_model_based else []
        self._study = optuna.create_study()
        self._numbers: dict[int, int] = {}  # by the number of a trial in the ledger: its number in the study here
        if self._is_model_based:
            past = list(past)
            self._rebuild_history({trial.number: _remembered(trial) for trial in past if trial.params}, len(past))

    def suggest(self, number: int, fixed: Values) -> Suggestion:
        """Suggest the values of a new trial.

        Args:
            number: of the trial; with the seed of the sweep it decides everything random, so that a resumed sweep goes
                on where it was and never repeats its suggestions.
            fixed: values of a hand-added point or a grid, under the ledger's names.

        Raises:
            SweepError: no random draw passes the filters.
        """
        if self._is_model_based and number % NEWEST == 0:
            trials = self._study.get_trials(deepcopy=False)
            self._rebuild_history({known: trials[place] for known, place in self._numbers.items()}, number)
        study = self._with_earlier() if self._is_model_based else optuna.create_study()
        origin: Origin = "point" if fixed else "random" if self._is_blind(study) else "sampler"
        study.sampler = self._sampler(number)
        for tries in range(_SAMPLED + _DRAWN):
            if tries == _SAMPLED:
                study.sampler, origin = RandomSampler(seed=_seed(self._settings.seed, number)), "random"
            if fixed:
                study.enqueue_trial(fixed)
            trial = study.ask()
            # GP models only parameters that every trial has, and learns to ignore those without an effect.
            if self._settings.name == "gp":
                self._space.suggest_all(cast(Suggester, trial))
            values = self._space.suggest(cast(Suggester, trial))
            if self._space.allows(values):
                template = create_trial(
                    state=TrialState.RUNNING, params=trial.params, distributions=trial.distributions
                )
                if self._is_model_based:
                    if study is not self._study:
                        self._study.add_trial(template)
                    self._numbers[number] = len(self._study.get_trials(deepcopy=False)) - 1
                return Suggestion(values, origin, template)
            study.tell(trial, state=TrialState.FAIL)
        raise SweepError(f"no combination of {_DRAWN:,} drawn at random passes the filters; loosen them")

    def observe(
        self, number: int, state: TrialState, objective: float | None, curve: Mapping[int, float], reason: str
    ) -> None:
        """Learn from a trial that has ended.

        Args:
            number: of the trial, in the ledger.
            state: COMPLETE, PRUNED or FAIL.
            objective: of a completed one.
            curve: of a pruned one, what it was ranked by at its last step.
            reason: of a failed one.
        """
        if not self._is_model_based or number not in self._numbers:
            return
        place = self._numbers[number]
        if state == TrialState.PRUNED and curve:
            storage = optuna_private.storage_of(self._study)
            study_id = optuna_private.study_id(self._study)
            trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, place)
            for step, value in curve.items():
                storage.set_trial_intermediate_value(trial_id, step, value)
            self._study.tell(place, state=TrialState.PRUNED)
        elif state == TrialState.PRUNED or (state == TrialState.FAIL and reason not in ITS_OWN_FAULT):
            self._study.tell(place, state=TrialState.FAIL)
        else:
            self._study.tell(place, _WORST if objective is None else objective)

    def _rebuild_history(self, trials: Mapping[int, FrozenTrial], number: int) -> None:
        """Start a new study with the newest of these trials, the best of the older ones, and those that still run.

        Args:
            trials: by their numbers in the ledger.
            number: of the next trial; with the ledger it decides which they are, so a resume changes nothing.
        """
        since = number - number % NEWEST - NEWEST
        old = [known for known, trial in trials.items() if known < since and trial.state == TrialState.COMPLETE]
        best = set(sorted(old, key=lambda known: (trials[known].value, known))[:_BEST])
        self._study, self._numbers = optuna.create_study(), {}
        for known, trial in trials.items():
            if known >= since or known in best or not trial.state.is_finished():
                self._numbers[known] = len(self._numbers)
                self._study.add_trial(trial)

    @property
    def _is_model_based(self) -> bool:
        return is_model_based(self._settings)

    def _is_blind(self, study: optuna.Study) -> bool:
        """Return True if the next trial is drawn at random: there is no model, or it has too little to learn from."""
        return not self._is_model_based or len(study.get_trials(deepcopy=False, states=_ENDED)) < _BLIND

    def _with_earlier(self) -> optuna.Study:
        """Return the study that the next trial is suggested in: with trials of earlier sweeps, while they count.

        Optuna's TPE cannot weight single trials, so earlier ones lose weight by number: each trial that has ended here
        replaces one of them, until none is left. Their errors are shifted by the median difference of the
        configurations that were trained in both sweeps, since another task, or more steps, has another level.
        """
        own = self._study.get_trials(deepcopy=False)
        kept = len(self._earlier) - sum(trial.state in _ENDED for trial in own)
        if kept <= 0:
            return self._study
        complete = [(trial.params, trial.value) for trial in own if trial.state == TrialState.COMPLETE]
        differences, others = [], []
        for one in self._earlier:
            here = [value for params, value in complete if one.params.items() <= params.items() and value is not None]
            differences += [value - one.error for value in here]
            others += [] if here else [one]
        shift = float(np.median(differences)) if differences else 0.0
        study = optuna.create_study()
        for one in others[:kept]:
            trial = one.template
            study.add_trial(
                create_trial(value=one.error + shift, params=trial.params, distributions=trial.distributions)
            )
        study.add_trials(own)
        return study

    def _known(self, earlier: Sequence[EarlierTrial]) -> list[_Known]:
        """Return earlier trials in the order in which they are kept longest."""
        study = optuna.create_study(sampler=RandomSampler(seed=self._settings.seed))
        known = []
        for one in earlier:
            params = self._space.to_params(one.values)
            study.enqueue_trial(params)
            trial = study.ask()
            if self._settings.name == "gp":
                self._space.suggest_all(cast(Suggester, trial))
            self._space.suggest(cast(Suggester, trial))
            known.append(_Known(params, one.error, trial))
        order = np.random.default_rng(self._settings.seed).permutation(len(known))
        return [known[i] for i in order]

    def _sampler(self, number: int) -> BaseSampler:
        seed = _seed(self._settings.seed, number)
        if self._settings.name == "tpe":
            return TPESampler(seed=seed, multivariate=True, group=True, n_startup_trials=_BLIND)
        return (
            GPSampler(seed=seed, n_startup_trials=_BLIND) if self._settings.name == "gp" else RandomSampler(seed=seed)
        )


def is_model_based(settings: Sampler) -> bool:
    """Return True if a sampler learns from the trials before."""
    return settings.name in ("tpe", "gp")


def _seed(of_sweep: int, number: int) -> int:
    return int(np.random.SeedSequence([of_sweep, number]).generate_state(1)[0])


def _remembered(trial: FrozenTrial) -> FrozenTrial:
    """Return an earlier trial as `observe` would have made it."""
    reason = trial.user_attrs.get("end", {}).get("reason", "")
    state, value = trial.state, trial.value
    if state == TrialState.WAITING:  # it will run again, so for the sampler it has not ended
        state = TrialState.RUNNING
    if state == TrialState.FAIL and reason in ITS_OWN_FAULT:
        state, value = TrialState.COMPLETE, _WORST
    if state == TrialState.PRUNED and not trial.intermediate_values:  # a person ended it before it measured anything
        state = TrialState.FAIL
    return create_trial(
        state=state,
        value=value if state == TrialState.COMPLETE else None,
        params=trial.params,
        distributions=trial.distributions,
        intermediate_values=trial.intermediate_values if state == TrialState.PRUNED else {},
    )
