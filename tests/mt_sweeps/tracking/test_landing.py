"""Which page the plain address of the dashboard opens."""

from types import SimpleNamespace

import pytest
from flask import Flask

from mt_sweeps.tracking import landing
from mt_sweeps.tracking.shared_view import ALL_SWEEPS, run_page, tag_of, view_page


class Store:
    """What is asked of an `mlflow.MlflowClient`."""

    def __init__(self, *sweeps, views=()):
        self.sweeps = list(sweeps)
        self.experiment = SimpleNamespace(experiment_id="3", tags={tag_of(sweep): "{}" for sweep in views})

    def get_experiment_by_name(self, name):
        assert name == "mt-sweeps"
        return self.experiment

    def search_runs(self, experiments, query, max_results):
        assert (experiments, query) == (["3"], "tags.mt.arm = 'sweep'")
        return [
            SimpleNamespace(info=SimpleNamespace(run_id=f"run-of-{sweep}"), data=SimpleNamespace(tags=self.tags(sweep)))
            for sweep in self.sweeps[:max_results]
        ]

    def tags(self, sweep):
        return {"mt.sweep": sweep, "mt.arm": "sweep"}


@pytest.fixture
def app(tmp_path):
    (tmp_path / "index.html").write_text("<html><head><title>MLflow</title></head></html>")
    made = Flask("mlflow", static_folder=str(tmp_path))
    made.add_url_rule("/", "serve", lambda: "MLflow's own page", methods=["GET", "POST"])
    made.add_url_rule("/health", "health", lambda: "OK")
    return made


def test_one_sweep_opens_its_view_or_without_one_its_run():
    assert landing.landing_page(Store("a", views=["a"]), "mt-sweeps") == view_page("3", "a")
    assert landing.landing_page(Store("a"), "mt-sweeps") == run_page("3", "run-of-a")


@pytest.mark.parametrize("sweeps", [(), ("a", "b"), ("a", "b", "c")])
def test_any_other_number_of_sweeps_opens_the_list_of_them(sweeps):
    assert landing.landing_page(Store(*sweeps, views=sweeps), "mt-sweeps") == view_page("3", ALL_SWEEPS)


def test_the_page_is_asked_for_anew_each_time_and_nothing_else_is_changed(app):
    store = Store("a", views=["a", "b"])
    landing.install(app, store, "mt-sweeps")
    client = app.test_client()
    assert f'"{view_page("3", "a")}"' in client.get("/").text
    store.sweeps.append("b")
    answer = client.get("/")
    assert f'"{view_page("3", ALL_SWEEPS)}"' in answer.text
    assert answer.text.startswith("<html><head><script>")
    assert "<title>MLflow</title>" in answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    assert client.get("/health").text == "OK"
    assert client.post("/").text == "MLflow's own page"


def test_a_page_cannot_end_the_script():
    html = landing.with_landing("<head></head>", "experiments/</script><script>alert()")
    assert html.count("</script>") == 1
