"""Which paths a file from elsewhere may name."""

import os
from pathlib import Path

import pytest

from mt_sweeps.errors import InputError
from mt_sweeps.spec.allowed_paths import VARIABLE, allow_paths, check_paths


@pytest.fixture(autouse=True)
def _nothing_is_allowed(tmp_path, monkeypatch):
    """A working directory and a home, as a user has them."""
    for name in ("here", "me"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "me" / "settings"))
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.delenv("MT_SWEEP_HOME", raising=False)


def root(path):
    return {"trainer": {"dataset": {"root": str(path)}}}


@pytest.mark.parametrize(
    "data",
    [
        root("/srv/images"),
        root("/"),
        root("../elsewhere"),
        root("images/../../elsewhere"),
        root("~root/images"),
        root("~/../elsewhere"),
        {"trainer": {"dataset": {"label_file": "/etc/passwd"}}},
        {"trainer": {"model": {"weights": "/srv/weights.pth"}}},
        {"search_space": {"model.weights": {"type": "categorical", "choices": ["/srv/weights.pth"]}}},
        {"points": [{"model.weights": "/srv/weights.pth"}]},
        {"storage": "/srv/trials"},
        {"tracking": {"uri": "sqlite:////srv/mlflow.db"}},
        {"tracking": {"uri": "sqlite:///../../mlflow.db"}},
        {"tracking": {"uri": "file:///srv/mlruns"}},
    ],
)
def test_a_path_outside_is_refused_with_its_key_and_what_to_do(data):
    with pytest.raises(InputError, match="is outside the working directory and your home") as error:
        check_paths("from-elsewhere.yaml", data)
    (problem,) = error.value.problems
    assert problem.startswith("from-elsewhere.yaml: ")
    assert "--allow-paths" in problem
    assert VARIABLE in problem


@pytest.mark.parametrize(
    "data",
    [
        root("images"),
        root("./images/.."),
        root("~/images"),
        {"storage": "s3://bucket/prefix"},
        {"tracking": {"uri": "https://mlflow.example.org/a"}},
        {"tracking": {"uri": "sqlite:///mlflow.db"}},
        {"trainer": {"dataset": {"groups": "/(patient[0-9]+)/"}}},
        {"trainer": {"steps": 100}, "points": [1, None, {"a": True}]},
        "no mapping",
        None,
    ],
)
def test_a_path_inside_and_what_is_no_path_needs_no_permission(data):
    check_paths("mine.yaml", data)


def test_what_the_user_types_is_allowed():
    check_paths("a.yaml", root("/srv/images"), ("trainer.dataset.root=/srv/images",))
    check_paths("a.yaml", root("/srv/images"), ("trainer.dataset={name: image_folder, root: /srv/images}",))
    with pytest.raises(InputError):
        check_paths("a.yaml", root("/srv/images"), ("trainer.dataset.labels=10",))


def test_folders_are_allowed_for_good_by_a_variable(monkeypatch):
    monkeypatch.setenv(VARIABLE, os.pathsep.join(["/srv/images", "~/x"]))
    check_paths("a.yaml", root("/srv/images/cats"))
    for other in ("/srv/images2", "/srv", "/srv/images/../other"):
        with pytest.raises(InputError):
            check_paths("a.yaml", root(other))


def test_the_home_of_the_sweeps_is_allowed(monkeypatch):
    monkeypatch.setenv("MT_SWEEP_HOME", "/srv/sweeps")
    check_paths("a.yaml", {"storage": "/srv/sweeps/trials"})


def test_what_init_was_given_is_noted_once(tmp_path):
    assert allow_paths(root("/srv/images")) == [Path("/srv/images")]
    assert allow_paths(root("/srv/images")) == []
    check_paths("a.yaml", root("/srv/images"))
    assert (tmp_path / "me/settings/mt-sweeps/allowed-paths").read_text() == "/srv/images\n"


def test_a_user_without_a_home_is_not_allowed_everything(monkeypatch):
    monkeypatch.setenv("HOME", "/")
    monkeypatch.chdir("/")
    with pytest.raises(InputError):
        check_paths("a.yaml", root("/srv/images"))


def test_a_link_of_the_users_own_is_followed_and_one_that_leads_up_is_not(tmp_path):
    (tmp_path / "elsewhere/deep").mkdir(parents=True)
    Path("images").symlink_to(tmp_path / "elsewhere/deep")
    check_paths("a.yaml", root("images"))
    with pytest.raises(InputError):
        check_paths("a.yaml", root("images/../secret"))
