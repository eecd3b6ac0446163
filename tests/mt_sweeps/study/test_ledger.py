import sqlite3
import time
from dataclasses import replace

import optuna
import pytest
import sqlalchemy

from mt_sweeps.errors import InputError, Unfinished
from mt_sweeps.storage.ledger_rows import rows_of_file
from mt_sweeps.study.ledger import LOSSES, Ledger
from mt_sweeps.study.trial import common_failure, trials_since_improvement
from tests.helpers.sweeps import digits, finish, new_ledger, reopened, report, run_all, url


@pytest.fixture
def ledger(tmp_path):
    return new_ledger(tmp_path / "ledger.db", digits("trials=4", "finalists.baselines=[]"))


def test_baselines_run_beside_the_search(tmp_path):
    learned = "search_space.optimizer.learning_rate={type: categorical, choices: [0.1, 0.2]}"
    ledger = new_ledger(tmp_path / "ledger.db", digits("trials=3", "points=[]", learned))
    assert [trial.arm for trial in run_all(ledger)] == ["search", "supervised", "published"] + 2 * [
        "search",
        "supervised",
    ]
    single = new_ledger(tmp_path / "single.db", digits("trials=3"))
    assert [trial.arm for trial in run_all(single)] == ["search", "supervised", "published", "search", "search"]


def test_the_published_baseline_has_its_settings_in_the_ledger_and_they_outlast_a_lost_driver(tmp_path):
    spec = digits("trials=1", "finalists.baselines=[published]")
    ledger = new_ledger(tmp_path / "ledger.db", spec)
    ledger.ask_search()
    ledger.requeue(ledger.ask_search())
    again = reopened(ledger, tmp_path).ask_search()
    assert (again.arm, again.number, again.attempt) == ("published", 0, 2)
    assert again.values == spec.published_values(10, 788)


def test_the_published_baseline_is_neither_pruned_nor_the_best(tmp_path):
    ledger = new_ledger(tmp_path / "ledger.db", digits("trials=3", "points=[]", "finalists.baselines=[published]"))
    trials = {trial.arm: trial for trial in iter(ledger.ask_search, None)}
    for trial in ledger.trials("search"):
        ledger.report(trial, report(90, 0.1))
    assert not ledger.report(trials["published"], report(90, 0.9))
    ledger.complete(trials["search"], report(300, 0.1))
    finish(ledger, trials["published"], 0.01)
    assert ledger.best().arm == "search"


def test_the_time_of_a_lost_worker_is_spent(ledger):
    ledger.worker_lost(ledger.ask_search(), "killed")
    time.sleep(0.2)
    spent = ledger.worker_lost(ledger.ask_search(), "killed")
    assert spent.seconds > 0
    assert spent.started > 0


def test_what_was_told_is_there_after_a_reopening(ledger, tmp_path):
    trial = finish(ledger, ledger.ask_search(), 0.25)
    ledger.record_active_seconds(12.0)
    ledger.save_time()
    again = reopened(ledger, tmp_path)
    assert again.trials("search") == [trial]
    assert again.best() == trial
    assert again.active_seconds == 12.0
    assert trial.error("validation.teacher_error") == (0.25, 0.01)


def test_a_requeued_trial_keeps_its_values_and_number_and_counts_its_attempts(ledger, tmp_path):
    first = ledger.ask_search()
    second = ledger.ask_search()
    ledger.requeue(second)
    again = reopened(ledger, tmp_path).ask_search()
    assert (again.number, again.values, again.attempt) == (second.number, second.values, 2)
    assert first.attempt == 1


def test_a_trial_whose_worker_is_lost_again_and_again_fails(ledger):
    for attempt in range(1, LOSSES + 1):
        trial = ledger.ask_search()
        assert trial.attempt == attempt
        trial = ledger.worker_lost(trial, "killed")
    assert (trial.state, trial.reason) == ("failed", "lost_worker")
    assert "killed" in trial.message


def test_drivers_may_be_lost_as_often_as_they_like(ledger):
    for _ in range(LOSSES + 2):
        trial = ledger.requeue(ledger.ask_search())
    assert trial.state == "waiting"


def test_failed_trials_count_and_their_reason_is_kept(ledger):
    failed = ledger.fail(ledger.ask_search(), "diverged", "Diverged: loss is nan", None)
    assert (failed.state, failed.reason, failed.message) == ("failed", "diverged", "Diverged: loss is nan")
    assert len([trial for trial in run_all(ledger) if trial.arm == "search"]) == 3


def test_the_first_three_failing_alike_are_a_configuration_error(ledger):
    for reason in ("diverged", "diverged"):
        ledger.fail(ledger.ask_search(), reason, "", None)
        assert common_failure(ledger.trials("search")) is None
    ledger.fail(ledger.ask_search(), "diverged", "", None)
    assert common_failure(ledger.trials("search")).number == 0


def test_failing_differently_or_after_a_success_is_no_configuration_error(ledger, tmp_path):
    for reason in ("diverged", "out_of_memory", "diverged"):
        ledger.fail(ledger.ask_search(), reason, "", None)
    assert common_failure(ledger.trials("search")) is None
    other = new_ledger(tmp_path / "other.db", ledger.spec)
    finish(other, other.ask_search())
    for _ in range(3):
        other.fail(other.ask_search(), "diverged", "", None)
    assert common_failure(other.trials("search")) is None


def test_a_bad_trial_is_pruned_at_the_rung_and_only_there(ledger):
    trials = [ledger.ask_search() for _ in range(4)]
    for trial, error in zip(trials[:3], (0.1, 0.2, 0.3), strict=True):
        assert not ledger.report(trial, report(30, error))
        ledger.report(trial, report(90, error))
    assert not ledger.report(trials[3], report(60, 0.9))
    assert ledger.report(trials[3], report(90, 0.9))
    assert ledger.report(trials[3], report(90, 0.9)), "asked again after a crash, the answer is the same"
    pruned = ledger.prune(trials[3], report(90, 0.9))
    assert (pruned.state, pruned.step) == ("pruned", 90)


def test_a_reopened_ledger_prunes_by_the_images_that_trials_were_ranked_on(tmp_path):
    ledger = new_ledger(tmp_path / "ledger.db", digits("trials=6", "finalists.baselines=[]"))
    trials = [ledger.ask_search() for _ in range(4)]
    bits = ("ffff", "ff00", "fe00", "ff00")
    for trial, error, correct in zip(trials, (0.0, 0.5, 0.5625, 0.5), bits, strict=True):
        one = replace(report(90, error), correct={"validation.teacher": correct, "validation.student": correct})
        if trial is trials[3]:
            ledger = reopened(ledger, tmp_path)
            assert ledger.separated() == (2, 2)
        decision = ledger.report(trial, one)
    assert decision, "eight images lost, and none won"
    pruned = ledger.prune(trials[3], one)
    assert pruned.last is not None
    assert pruned.last.correct == {}, "the records have it"
    (row,) = [row for row in rows_of_file(tmp_path / "ledger.db", ["digits"])[0].trials if row.number == 3]
    assert not any(name.startswith("ranked/") for name in row.attributes), "what is shown does not need it"


def test_trials_are_ranked_on_the_better_of_student_and_teacher(ledger):
    trials = [ledger.ask_search() for _ in range(4)]
    for trial in trials[:3]:
        ledger.report(trial, report(90, 0.3))
    slow_teacher = report(90, teacher=0.9, student=0.1)
    assert not ledger.report(trials[3], slow_teacher)


def test_the_objective_is_the_last_evaluation_and_the_best_is_the_lowest(ledger):
    first, second = ledger.ask_search(), ledger.ask_search()
    ledger.report(first, report(30, 0.01))  # lucky, and early
    finish(ledger, first, 0.3)
    finish(ledger, second, 0.2)
    assert ledger.best().number == second.number


def test_a_ledger_of_another_format_is_refused(ledger, tmp_path):
    optuna.load_study(study_name="digits", storage=url(tmp_path)).set_user_attr("format", 99)
    with pytest.raises(InputError, match="ledger of format 99, this version reads 3; use the version"):
        reopened(ledger, tmp_path)


def test_optuna_reads_the_ledger_as_it_is(ledger, tmp_path):
    finish(ledger, ledger.ask_search(), 0.25)
    study = optuna.load_study(study_name="digits", storage=url(tmp_path))
    assert study.best_value == 0.25
    assert study.trials[0].intermediate_values == {300: 0.25}


def test_fewer_trials_than_were_asked_for_already_are_no_more_to_come(ledger, tmp_path):
    for _ in range(3):
        finish(ledger, ledger.ask_search())
    ledger.close()
    fewer = Ledger(tmp_path / "ledger.db", ledger.spec.model_copy(update={"trials": 1}))
    assert (fewer.total("search"), fewer.remaining("search"), fewer.ask_search()) == (3, 0, None)


def test_what_remains_are_the_trials_that_wait_and_those_not_yet_asked_for(tmp_path):
    ledger = new_ledger(tmp_path / "ledger.db", digits("trials=4"))
    assert ledger.remaining("search") == 4
    trial = ledger.ask_search()
    assert ledger.remaining("search") == 3
    ledger.requeue(trial)
    assert ledger.remaining("search") == 4
    run_all(ledger)
    assert (ledger.remaining("search"), ledger.remaining("supervised")) == (0, 0)


def test_a_missing_ledger_is_not_made_up(tmp_path):
    with pytest.raises(InputError, match="the ledger is missing"):
        Ledger(tmp_path / "none.db", digits())
    assert not (tmp_path / "none.db").exists()


def test_a_file_that_is_no_ledger_of_the_sweep_is_refused_and_left_alone(ledger, tmp_path):
    other = digits("name=other")
    with pytest.raises(InputError, match="is no ledger of the sweep other"):
        Ledger(tmp_path / "ledger.db", other)
    foreign = tmp_path / "foreign.db"
    foreign.write_bytes(b"no database at all, but long enough to be mistaken for one" * 9)
    with pytest.raises(InputError, match=r"foreign\.db: is no ledger"):
        Ledger(foreign, ledger.spec)
    assert foreign.read_bytes().startswith(b"no database")
    with sqlite3.connect(tmp_path / "empty.db") as made:
        made.execute("create table something (id integer)")
    with pytest.raises(InputError, match=r"empty\.db: is no ledger"):
        Ledger(tmp_path / "empty.db", ledger.spec)


def test_a_sweep_goes_on_only_with_what_it_was_started_with(ledger, tmp_path):
    ledger.close()
    changed = digits("trials=4", "finalists.baselines=[]", "trainer.steps=400", "search_space.ema.decay.high=0.99")
    with pytest.raises(InputError, match=r"spec\.yaml: trainer\.steps: the sweep was started with 300, now it is 400"):
        Ledger(tmp_path / "ledger.db", changed)
    more = digits("trials=9", "finalists.baselines=[]", "budget.hours=1.0", "resources.max_concurrent=1")
    assert Ledger(tmp_path / "ledger.db", more).remaining("search") == 9


def test_what_a_stale_worker_says_changes_nothing(ledger):
    stale = ledger.ask_search()
    ledger.requeue(stale)
    owner = ledger.ask_search()
    assert (owner.number, owner.attempt) == (stale.number, 2)
    assert not ledger.report(stale, report(30, 0.1))
    for said in (
        ledger.complete(stale, report(300, 0.1)),
        ledger.prune(stale, report(90, 0.1)),
        ledger.fail(stale, "error", "", None),
        ledger.requeue(stale),
        ledger.worker_lost(stale, "killed"),
    ):
        assert said == owner
    ledger.report(owner, report(30, 0.2))
    assert ledger.trials("search")[0].step == 30


def test_a_step_that_is_told_twice_counts_once_and_the_first_time(ledger, tmp_path):
    trial = ledger.ask_search()
    for step, error in ((30, 0.5), (60, 0.4), (30, 0.1), (60, 0.1)):
        ledger.report(trial, report(step, error))
    assert optuna.load_study(study_name="digits", storage=url(tmp_path)).trials[0].intermediate_values == {
        30: 0.5,
        60: 0.4,
    }


def test_the_best_that_improves_within_its_noise_has_not_improved(ledger):
    for error, since in ((0.5, 0), (0.495, 1), (0.2, 0), (0.191, 1)):
        finish(ledger, ledger.ask_search(), error)
        assert trials_since_improvement(ledger.trials("search"), ledger.spec.metric) == since


class JumpingClock:
    """Ten seconds pass between two looks; meanwhile the wall clock is set back by an hour each time."""

    def __init__(self):
        self.looks = 0

    def time(self):
        return 1_700_000_000.0 - 3600 * self.looks

    def monotonic(self):
        self.looks += 1
        return 10.0 * self.looks


def test_a_wall_clock_that_is_set_back_takes_no_time_from_a_trial(tmp_path):
    new_ledger(tmp_path / "ledger.db", digits("trials=1", "finalists.baselines=[]"))
    ledger = Ledger(tmp_path / "ledger.db", digits("trials=1", "finalists.baselines=[]"), clock=JumpingClock())
    trial = finish(ledger, ledger.ask_search())
    assert 10 <= trial.seconds <= 100
    assert ledger.seconds_done == trial.seconds


def test_a_driver_that_was_replaced_writes_no_more(tmp_path):
    paused = new_ledger(tmp_path / "ledger.db", digits("trials=3"))
    paused.take_over()
    trial = paused.ask_search()
    paused.report(trial, report(30, 0.5))
    other = Ledger(tmp_path / "ledger.db", paused.spec)
    other.take_over()
    assert other.trials(trial.arm)[0].state == "waiting"
    for write in (
        lambda: paused.report(trial, report(60, 0.5)),
        lambda: paused.complete(trial, report(300, 0.5)),
        paused.ask_search,
        paused.check_driver,
    ):
        with pytest.raises(Unfinished, match="another process has taken the sweep over"):
            write()
    assert Ledger(tmp_path / "ledger.db", paused.spec).all_trials() == other.all_trials()


def test_why_a_driver_ended_is_kept_until_another_one_drives(tmp_path):
    spec = digits("trials=2")
    ledger = new_ledger(tmp_path / "ledger.db", spec)
    ledger.take_over()
    ledger.record_end("the budget is spent")
    again = Ledger(tmp_path / "ledger.db", spec)
    assert again.ended == "the budget is spent"
    again.take_over()
    assert (again.ended, Ledger(tmp_path / "ledger.db", spec).ended) == ("", "")


@pytest.mark.parametrize(
    "write",
    [
        lambda ledger, trial: ledger.report(trial, report(30, 0.5)),
        lambda ledger, trial: ledger.worker_lost(trial, "its node died"),
        lambda ledger, trial: ledger.fail(trial, "error", "", None),
        lambda ledger, _: ledger.ask_search(),
        lambda ledger, _: ledger.save_time(),
    ],
)
def test_a_driver_that_is_replaced_while_it_is_about_to_write_does_not_write(tmp_path, write):
    paused = new_ledger(tmp_path / "ledger.db", digits("trials=3"))
    paused.take_over()
    trial = paused.ask_search()
    other = Ledger(tmp_path / "ledger.db", paused.spec)
    pauses = iter([other.take_over])

    def pause(*arguments):
        if arguments[2].startswith(("INSERT", "UPDATE")):  # what the write needs to know is read already
            next(pauses, lambda: None)()

    sqlalchemy.event.listen(paused._storage.engine, "before_cursor_execute", pause)
    with pytest.raises(Unfinished, match="another process has taken the sweep over"):
        write(paused, trial)
    assert Ledger(tmp_path / "ledger.db", paused.spec).all_trials() == other.all_trials()


@pytest.mark.parametrize(("sampler", "reads"), [("tpe", 1), ("random", 0)])
def test_only_a_sampler_that_learns_has_the_earlier_trials_read(tmp_path, monkeypatch, sampler, reads):
    ledger = new_ledger(tmp_path / "ledger.db", digits("trials=3", "finalists.baselines=[]", f"sampler.name={sampler}"))
    finish(ledger, ledger.ask_search())
    again = reopened(ledger, tmp_path)
    calls, read = [], again._storage.get_all_trials
    monkeypatch.setattr(again._storage, "get_all_trials", lambda *a, **k: calls.append(1) or read(*a, **k))
    while again.remaining("search"):
        again.ask_search()
    assert len(calls) == reads


def count_commits(ledger, write):
    """How often the file was written when `write` returned."""
    commits = []

    def commit(connection):
        if connection.connection.dbapi_connection.in_transaction:  # else nothing was written
            commits.append(1)

    engine = ledger._storage.engine
    sqlalchemy.event.listen(engine, "commit", commit)
    write()
    sqlalchemy.event.remove(engine, "commit", commit)
    return len(commits)


def test_a_start_a_report_and_an_end_are_one_commit_each(tmp_path):
    ledger = new_ledger(tmp_path / "ledger.db", digits("trials=3"))
    ledger.take_over()
    trials = []
    assert count_commits(ledger, lambda: trials.append(ledger.ask_search())) == 1
    assert count_commits(ledger, lambda: ledger.report(trials[0], report(90, 0.5))) == 1, "at a rung"
    assert count_commits(ledger, lambda: ledger.complete(trials[0], report(300, 0.5))) == 1, "with its last report"
    (complete,) = reopened(ledger, tmp_path).trials("search")
    assert (complete.state, complete.step) == ("complete", 300)
    study = optuna.load_study(study_name="digits", storage=url(tmp_path))
    assert study.trials[0].intermediate_values == {90: 0.5, 300: 0.5}


@pytest.mark.parametrize("statement", range(1, 6))
def test_of_an_end_that_a_crash_interrupts_nothing_is_written(tmp_path, statement):
    ledger = new_ledger(tmp_path / "ledger.db", digits("trials=3"))
    ledger.take_over()
    trial = ledger.ask_search()
    left = iter(range(1, statement))

    def crash(*arguments):
        if arguments[2].startswith(("INSERT", "UPDATE")) and next(left, None) is None:
            raise SystemExit

    before = ledger.all_trials()
    sqlalchemy.event.listen(ledger._storage.engine, "before_cursor_execute", crash)
    with pytest.raises(SystemExit):
        ledger.complete(trial, report(300, 0.5))
    sqlalchemy.event.remove(ledger._storage.engine, "before_cursor_execute", crash)
    assert ledger.all_trials() == before
    again = reopened(ledger, tmp_path)
    again.take_over()
    assert [(one.state, one.step) for one in again.all_trials()] == [("waiting", 0)]
    assert finish(again, again.ask_search(), 0.5).state == "complete"


def test_a_driver_that_takes_over_knows_what_the_one_before_wrote_until_then(tmp_path):
    before = new_ledger(tmp_path / "ledger.db", digits("trials=3"))
    before.take_over()
    trial = before.ask_search()
    slow = Ledger(tmp_path / "ledger.db", before.spec)  # is stopped here for a while
    finish(before, trial)
    slow.take_over()
    assert slow.all_trials() == before.all_trials()
    assert slow.steps_done == before.steps_done


def test_a_driver_that_died_as_a_trial_lost_its_last_worker_is_followed_by_one_that_fails_it(tmp_path):
    class Dies(Ledger):
        def fail(self, *_):
            raise SystemExit

    spec = digits("trials=1", "finalists.baselines=[]")
    new_ledger(tmp_path / "ledger.db", spec).close()
    ledger = Dies(tmp_path / "ledger.db", spec)
    for _ in range(LOSSES - 1):
        ledger.worker_lost(ledger.ask_search(), "its node died")
    trial = ledger.ask_search()
    with pytest.raises(SystemExit):
        ledger.worker_lost(trial, "its node died")
    again = reopened(ledger, tmp_path)
    again.take_over()
    assert [(trial.state, trial.reason) for trial in again.all_trials()] == [("failed", "lost_worker")]


def test_an_added_point_is_the_next_trial_takes_one_of_the_count_and_is_there_once(ledger, tmp_path):
    finish(ledger, ledger.ask_search())
    added = ledger.add_point("id", {"ema.decay": 0.97})
    assert (added.number, added.state, added.origin, added.attempt) == (1, "waiting", "point", 0)
    assert added.values["ema.decay"] == 0.97
    assert ledger.add_point("id", {"ema.decay": 0.97}) == added
    assert (ledger.total("search"), ledger.remaining("search")) == (4, 3)
    again = reopened(ledger, tmp_path)
    again.take_over()
    assert again.add_point("id", {"ema.decay": 0.97}) == added
    begun = again.ask_search()
    assert (begun.number, begun.attempt, begun.values, begun.request) == (1, 1, added.values, "id")
    finish(again, begun)
    assert len([trial for trial in run_all(again) if trial.arm == "search"]) == 2


def test_an_added_point_takes_no_point_of_the_file_and_one_that_is_left_is_still_tried(tmp_path):
    points = "points=[{ema.decay: 0.91}, {ema.decay: 0.92}]"
    ledger = new_ledger(tmp_path / "ledger.db", digits("trials=4", "finalists.baselines=[]", points))
    ledger.ask_search()
    assert ledger.open_trials() == 2
    ledger.add_point("id", {"ema.decay": 0.97})
    assert ledger.open_trials() == 1
    ledger = reopened(ledger, tmp_path)
    ledger.take_over()
    assert [trial.values["ema.decay"] for trial in run_all(ledger)][:3] == [0.91, 0.97, 0.92]


def test_an_added_point_that_the_sampler_cannot_complete_is_a_failed_trial(ledger, monkeypatch):
    def raises(*_):
        raise ValueError("no such distribution")

    monkeypatch.setattr("mt_sweeps.study.sampler.ArmSampler.suggest", raises)
    failed = ledger.add_point("id", {"ema.decay": 0.97})
    assert (failed.state, failed.reason) == ("failed", "refused")
    assert ledger.remaining("search") == 3


def test_a_trial_that_is_ended_by_hand_is_pruned_with_what_it_measured_and_is_no_failure(ledger, tmp_path):
    running, waiting = ledger.ask_search(), ledger.ask_search()
    ledger.report(running, report(30, 0.4))
    ledger.report(waiting, report(30, 0.5))
    waiting = ledger.requeue(waiting)
    ended = ledger.end_by_hand(running, [report(30, 0.4), report(60, 0.3)])
    assert (ended.state, ended.reason, ended.message) == ("pruned", "ended_by_hand", "ended by hand at step 60")
    assert (ended.step, ended.last.step) == (60, 60)
    assert ledger.end_by_hand(waiting, []).message == "ended by hand before its first evaluation"
    assert ledger.end_by_hand(ended, []) == ended
    assert ledger.remaining("search") == 2
    again = reopened(ledger, tmp_path)
    assert again.all_trials() == ledger.all_trials()
    study = optuna.load_study(study_name="digits", storage=url(tmp_path))
    assert study.trials[0].intermediate_values == {30: 0.4, 60: 0.3}


def test_three_trials_that_are_ended_by_hand_are_no_configuration_error(ledger):
    for _ in range(3):
        ledger.end_by_hand(ledger.ask_search(), [])
    assert common_failure(ledger.trials("search")) is None


def test_a_stale_attempt_is_not_ended_by_hand(ledger):
    stale = ledger.ask_search()
    ledger.requeue(stale)
    assert ledger.ask_search().attempt == 2
    assert ledger.end_by_hand(stale, [report(30, 0.1)]).state == "running"
