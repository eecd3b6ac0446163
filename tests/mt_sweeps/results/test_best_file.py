import pytest
from click.testing import CliRunner
from scipy.stats import binomtest

from mt_sweeps.cli import cli
from mt_sweeps.errors import InputError
from mt_sweeps.results import best_file, finalists
from mt_sweeps.spec import yaml_file
from tests.helpers.sweeps import ENVIRONMENT, Sweep, digits, finish, new_ledger, report


@pytest.fixture
def text(tmp_path):
    ledger = new_ledger(tmp_path / "ledger.db", digits())
    best = ledger.complete(ledger.ask_search(), report(300, 0.1))
    return best_file.to_yaml(best_file.from_trial(ledger, best, ENVIRONMENT))


def written(folder, text):
    file = folder / "best.yaml"
    file.write_text(text)
    return file


def test_the_file_holds_exactly_the_configuration_of_the_trial(text, tmp_path):
    request = best_file.load_request(written(tmp_path, text))
    assert request.best.trainer == digits().config(digits().points[0])
    assert request.best.searched == digits().points[0]
    assert (request.changed, request.cautions) == ([], [])


def test_a_file_that_contradicts_itself_or_was_edited_is_doubted(text, tmp_path):
    assert text.count("decay: 0.95\n    ramp") == 1
    contradicting, edited = best_file.load_request(
        written(tmp_path, text.replace("decay: 0.95\n    ramp", "decay: 0.5\n    ramp"))
    ).cautions
    assert contradicting == (
        "searched says ema.decay 0.95, and trainer.ema.decay is 0.5: the sweep did not find what is trained"
    )
    assert edited == "the file was changed since it was exported (its digest does not match)"
    (only,) = best_file.load_request(
        written(tmp_path, text.replace("standard_error: 0.01", "standard_error: 0.001"))
    ).cautions
    assert only == edited
    assert best_file.load_request(written(tmp_path, text + "\n# a comment of my own\n")).cautions == []


def test_an_override_is_no_contradiction_and_hides_none(text, tmp_path):
    override = ("trainer.ema.decay=0.5",)
    assert best_file.load_request(written(tmp_path, text), override).cautions == []
    contradicting = written(tmp_path, text.replace("decay: 0.95\n    ramp", "decay: 0.5\n    ramp"))
    assert len(best_file.load_request(contradicting, ("trainer.ema.decay=0.95",)).cautions) == 2


def test_a_file_of_an_earlier_version_has_no_digest_and_is_read(text, tmp_path):
    without = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("digest:"))
    request = best_file.load_request(written(tmp_path, without))
    assert (request.best.digest, request.cautions) == (None, [])


def test_the_file_says_how_sure_one_can_be_and_what_everything_followed_from(text, tmp_path):
    best = best_file.load_request(written(tmp_path, text)).best
    shown = best.validation
    assert (shown.error, shown.standard_error, shown.images, shown.step) == (0.1, 0.01, 300, 300)
    by_scipy = binomtest(30, 300).proportion_ci(0.95, method="wilson")
    assert (shown.low, shown.high) == pytest.approx((by_scipy.low, by_scipy.high), rel=1e-12)
    assert 0.07 < shown.low < 0.1 < shown.high < 0.14
    assert best.seeds.model_dump() == {"sampler": 0, "trainer": 0, "split": 0}
    origin = (best.sweep_id, best.data_fingerprint, best.split_fingerprint, best.versions)
    assert origin == ("abc", "def", "012", {"torch": "2.15.0", "mt-sweeps": "0.0.9"})
    assert best.finalists is None, "the sweep has none"


def test_the_file_tells_what_the_finalists_showed_of_this_configuration(tmp_path):
    spec = digits("trials=1", "finalists.top=1", "finalists.seeds=3")
    ledger = new_ledger(tmp_path / "ledger.db", spec)
    while trial := ledger.ask_search():
        finish(ledger, trial)
    ledger.plan_finalists(finalists.plan(ledger, ENVIRONMENT.images))
    assert best_file.from_trial(ledger, ledger.best(), ENVIRONMENT).finalists is None, "none of them is done"
    while trial := ledger.ask_finalist():
        finish(ledger, trial, 0.2 + 0.01 * (trial.number // 3))
    file = written(tmp_path, best_file.to_yaml(best_file.from_trial(ledger, ledger.best(), ENVIRONMENT)))
    shown = best_file.load_request(file).best.finalists
    assert shown.error == pytest.approx(0.21)
    assert shown.low < 0.2 < 0.22 < shown.high
    assert (shown.seeds, shown.images, shown.kept_back) == (3, 300, True)
    assert shown.others == pytest.approx({"supervised": 0.21, "published": 0.21})


@pytest.fixture
def swept(tmp_path):
    """A sweep whose trials of all arms have ended, the second of each arm with the lower error."""
    rate = "search_space.optimizer.learning_rate={type: float, low: 0.01, high: 0.1}"
    sweep = Sweep(tmp_path, "trials=2", "points=[]", "finalists.baselines=[supervised, published]", rate)
    while trial := sweep.ledger.ask_search():
        finish(sweep.ledger, trial, 0.2 - 0.05 * trial.number)
    return sweep


def test_the_best_supervised_trial_is_exported_as_it_was_trained_and_says_that_it_is_a_baseline(swept, tmp_path):
    best = best_file.from_sweep(swept.directory, "supervised")
    assert (best.arm, best.trial, best.title) == ("supervised", 1, "the supervised baseline of digits (supervised 1)")
    text = best_file.to_yaml(best)
    assert text.startswith("# The supervised baseline of digits (supervised 1): the same network and steps without ")
    request = best_file.load_request(written(tmp_path, text))
    (trial,) = [one for one in swept.ledger.trials("supervised") if one.number == 1]
    assert request.best.trainer == swept.spec.config(trial.values, "supervised")
    assert (request.best.trainer.method, request.best.searched) == ("supervised", trial.values)
    assert (request.changed, request.cautions) == ([], [])


def test_the_command_takes_the_arm_and_says_what_to_train(swept, tmp_path):
    file = tmp_path / "supervised.yaml"
    arguments = ["export", "digits", "-o", str(file), "--home", str(tmp_path), "--arm"]
    done = CliRunner().invoke(cli, [*arguments, "supervised"], catch_exceptions=False)
    assert "train the supervised baseline with: " in done.output
    assert best_file.load_request(file).best == best_file.from_sweep(swept.directory, "supervised")
    refused = CliRunner().invoke(cli, [*arguments, "finalists"])
    assert "'search', 'probe', 'supervised', 'published'" in refused.output


def test_of_the_published_values_nothing_was_chosen(swept):
    best = best_file.from_sweep(swept.directory, "published")
    (trial,) = swept.ledger.trials("published")
    assert best.trainer == swept.spec.config(trial.values, "published")
    assert best.searched == {}
    assert "chose" not in best.validation.interval
    assert "chose" in best_file.from_sweep(swept.directory).validation.interval


def test_an_arm_that_the_sweep_does_not_have_is_answered_with_those_that_it_has(swept):
    with pytest.raises(InputError, match="digits: has no probe baseline; its arms: search, supervised, published"):
        best_file.from_sweep(swept.directory, "probe")


def test_an_arm_without_a_completed_trial_has_nothing_to_export(tmp_path):
    sweep = Sweep(tmp_path)
    with pytest.raises(InputError, match="no trial of supervised has completed yet"):
        best_file.from_sweep(sweep.directory, "supervised")


def test_a_file_of_an_earlier_version_is_of_the_search(text, tmp_path):
    assert text.count("arm: search\n") == 1
    assert best_file.load_request(written(tmp_path, text.replace("arm: search\n", ""))).best.arm == "search"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("steps: 300", "steps: 0"), "trainer.steps: should be greater than or equal to 1"),
        (("decay: 0.95\n    ramp", "decay: 1.95\n    ramp"), "trainer.ema.decay: should be less than 1"),
        (("mt-sweeps-best/2", "best"), "format: 'best' is not allowed; use 'mt-sweeps-best/2'"),
        (("batch_size", "bach_size"), "trainer.bach_size: unknown key; did you mean 'batch_size'?"),
        (("labels: 50", "labels: 5"), "fewer than the 10 classes"),
        (("sweep: digits", "sweep: ../../out"), "sweep: '../../out' is no plain name"),
        (("trial: 0", "trial: none"), "trial: should be a valid integer, not 'none'"),
    ],
)
def test_a_file_edited_into_nonsense_is_refused_with_its_key(text, change, message, tmp_path):
    assert text.count(change[0]) >= 1
    file = written(tmp_path, text.replace(*change))
    with pytest.raises(InputError) as error:
        best_file.load_request(file)
    assert message in str(error.value)
    assert str(file) in str(error.value)


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (9, r"of format 9, written by a newer version \(mt-sweeps 0\.0\.9; this is .*format 2\); update it"),
        (
            1,
            r"of format 1, written by an older version \(mt-sweeps 0\.0\.9; .*mt-sweep export digits -o FILE`",
        ),
    ],
)
def test_a_file_of_another_version_is_told_with_the_version_that_wrote_it(text, number, message, tmp_path):
    file = written(tmp_path, text.replace("mt-sweeps-best/2", f"mt-sweeps-best/{number}"))
    with pytest.raises(InputError, match=message):
        best_file.load_request(file)


def test_another_yaml_file_is_refused_with_the_way_to_write_one(tmp_path):
    with pytest.raises(InputError, match="mt-sweep export SWEEP"):
        best_file.load_request(written(tmp_path, "name: digits\n"))


def test_what_is_overridden_is_named_and_the_rest_stays(text, tmp_path):
    file = written(tmp_path, text)
    overrides = ("trainer.steps=600", "trainer.ema.decay=0.95", "trainer.seed=3", "tracking.uri=null")
    request = best_file.load_request(file, overrides)
    assert request.changed == ["steps"], "the decay is as exported, and a seed is no configuration"
    assert (request.best.trainer.steps, request.best.trainer.seed) == (600, 3)
    whole = best_file.load_request(file, ("trainer.optimizer={name: adam, learning_rate: 0.001}",))
    assert {"optimizer.name", "optimizer.learning_rate", "optimizer.momentum"} <= set(whole.changed)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.stepz=3", r"trainer\.stepz: unknown key; did you mean 'steps'\?"),
        ("trainer.ema.decai=0.5", r"trainer\.ema\.decai: unknown key; did you mean 'decay'\?"),
        ("trainer.steps=many", r"trainer\.steps: should be a valid integer, not 'many'"),
        ("steps=3", r"--set steps=3: begin the key with trainer"),
        ("sweep_id=other", r"--set sweep_id=other: begin the key with trainer"),
    ],
)
def test_an_override_that_leads_nowhere_is_told(text, override, message, tmp_path):
    with pytest.raises(InputError, match=message):
        best_file.load_request(written(tmp_path, text), (override,))


def test_no_line_of_the_file_is_broken(text):
    assert yaml_file.parse(text, "")["format"] == "mt-sweeps-best/2"
    assert all(": " in line or line.endswith(":") or line.startswith("#") for line in text.splitlines())
