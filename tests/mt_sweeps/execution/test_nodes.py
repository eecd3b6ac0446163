"""What nodes find of themselves, and what is made of it. On real nodes: tests/system/team."""

from dataclasses import replace
from pathlib import Path

import pytest

from mt_sweeps.errors import InputError
from mt_sweeps.execution import nodes
from mt_sweeps.execution.nodes import NodeGone, NodeReport, check_nodes, inspect_node
from mt_sweeps.execution.precision import have_bf16_units
from mt_sweeps.execution.preflight import DatasetCheck, check_data, spec_versions
from mt_sweeps.execution.resources import Share
from mt_sweeps.versions import versions
from tests.helpers.plugins import Tiny, plugins, tiny, write_plugin  # noqa: F401 (a fixture)
from tests.helpers.sweeps import digits
from trainers import register_model

FILE = Path("space.yaml")
OURS = NodeReport(versions(), "the images", {}, None)
DATA = DatasetCheck("the images", "", ["a", "b"], {}, {}, {})


def gone(_):
    raise NodeGone


def broken(_):
    raise ModuleNotFoundError("No module named 'mt_sweeps'")


@pytest.fixture
def checked(monkeypatch):
    def check(*answers, spec=None):
        """Each is what a node says, or does."""
        answering = {f"node-{i}": one if callable(one) else lambda _, one=one: one for i, one in enumerate(answers)}
        monkeypatch.setattr(nodes, "on_each_node", lambda *_: answering)
        return check_nodes(FILE, spec or digits(), Share(0.0, 2, 1), DATA)

    return check


def test_nodes_that_are_like_the_driver_may_run_trials(checked, capsys):
    checked(OURS, OURS)
    assert "checking 2 nodes: versions, images, storage" in capsys.readouterr().out


def test_bf16_is_for_clusters_that_compute_in_it_on_every_node(checked):
    with_units = replace(OURS, has_bf16_units=True)
    assert checked(with_units, with_units)
    assert not checked(with_units, OURS)
    assert checked(gone, with_units), "a node that has left runs no trial"


@pytest.mark.parametrize("package", ["mt-sweeps", "code", "torch"])
def test_another_version_of_what_decides_a_result_is_named(checked, package):
    other = NodeReport(versions() | {package: "0.0"}, "the images", {}, None)
    with pytest.raises(
        InputError, match=rf"space.yaml: the node node-1: has other versions: {package} 0.0 \(the driver"
    ):
        checked(OURS, other)


def test_other_images_a_storage_out_of_reach_and_a_node_without_us_are_told_together(checked):
    with pytest.raises(InputError) as raised:
        checked(
            OURS,
            NodeReport(versions(), "others", {}, None),
            NodeReport(versions(), "", {}, "storage: s3://a-bucket cannot be used"),
            broken,
        )
    assert [problem.removeprefix("space.yaml: the node ") for problem in raised.value.problems] == [
        "node-1: has other images than the driver; copy them, or mount one folder on every node",
        "node-2: storage: s3://a-bucket cannot be used",
        "node-3: cannot run mt-sweeps: No module named 'mt_sweeps'",
    ]


def test_a_node_that_leaves_meanwhile_is_no_reason_to_refuse_the_others(checked, capsys):
    checked(gone, OURS)
    assert "the node node-0 has left the cluster: the sweep goes on without it" in capsys.readouterr().out
    with pytest.raises(InputError, match="every node has left the cluster"):
        checked(gone, gone)


def test_a_cluster_without_a_node_for_one_trial_is_refused(checked):
    with pytest.raises(InputError, match="no node of the cluster has 2 cores and 0 GPUs for one trial"):
        checked()


def test_a_node_finds_its_versions_its_images_and_whether_it_reaches_the_storage(tmp_path):
    spec = digits(f"storage={tmp_path / 'kept'}")
    assert inspect_node(([], spec.model_dump_json(exclude_none=True), 0.0)) == NodeReport(
        versions(), check_data(FILE, spec).fingerprint, {}, None, have_bf16_units(0.0)
    )
    (tmp_path / "file").write_text("")
    unreached = digits(f"storage={tmp_path / 'file'}")
    assert "cannot be used" in inspect_node(([], unreached.model_dump_json(exclude_none=True), 0.0)).problem


def test_a_node_without_a_plugin_or_with_other_code_of_it_is_named(checked, plugins, tmp_path, monkeypatch):  # noqa: ARG001, F811
    spec = digits()
    sent = spec.model_dump_json(exclude_none=True)
    assert "plugin nowhere: cannot be imported on this machine" in inspect_node((["nowhere"], sent, 0.0)).problem
    register_model(Tiny)(tiny)
    spec = digits("trainer.model={name: tiny}")
    ours = spec_versions(spec)
    with pytest.raises(InputError, match=r"node-0: has other versions: plugin tests.helpers.plugins 0 \(the driver: "):
        checked(NodeReport(ours | {"plugin tests.helpers.plugins": "0"}, "the images", {}, None), spec=spec)
    checked(NodeReport(ours, "the images", {}, None), spec=spec)
    write_plugin(tmp_path, "of_the_node")
    monkeypatch.chdir(tmp_path)
    sent = sent.replace('{"name":"small_cnn","width":16}', '{"name":"written"}')
    found = inspect_node((["of_the_node"], sent, 0.0))
    assert (found.problem, found.versions.keys() - versions().keys()) == (None, {"plugin of_the_node"})
