"""What nodes find of themselves, and what is made of it. On real nodes: tests/system/team."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mt_sweeps import report as sweep_report
from mt_sweeps.errors import InputError
from mt_sweeps.execution import preflight, ray_cluster
from mt_sweeps.execution.precision import have_bf16_units
from mt_sweeps.execution.preflight import (
    DatasetCheck,
    NodeReport,
    check_data,
    check_folder,
    check_nodes,
    inspect_node,
    spec_versions,
)
from mt_sweeps.execution.resources import Share
from mt_sweeps.spec.load import load_spec
from mt_sweeps.storage.local import LocalHome
from mt_sweeps.versions import versions
from tests.helpers.command_line import DIGITS, REPOSITORY
from tests.helpers.plugins import Tiny, plugins, tiny, write_plugin  # noqa: F401 (a fixture)
from tests.helpers.sweeps import begun, digits, of_folder
from tests.helpers.training import write_image, write_two_classes
from trainers import register_model

FILE = Path("space.yaml")
OURS = NodeReport(versions(), "the images", {}, None)
DATA = DatasetCheck("the images", "", ["a", "b"], {}, {}, {})


def gone(_):
    raise ray_cluster.NodeGone


def broken(_):
    raise ModuleNotFoundError("No module named 'mt_sweeps'")


@pytest.fixture
def checked(monkeypatch):
    def check(*answers, spec=None):
        """Each is what a node says, or does."""
        asked = {f"node-{i}": one if callable(one) else lambda _, one=one: one for i, one in enumerate(answers)}
        monkeypatch.setattr(ray_cluster, "on_each_node", lambda *_: asked)
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
    with pytest.raises(InputError) as told:
        checked(
            OURS,
            NodeReport(versions(), "others", {}, None),
            NodeReport(versions(), "", {}, "storage: s3://a-bucket cannot be used"),
            broken,
        )
    assert [problem.removeprefix("space.yaml: the node ") for problem in told.value.problems] == [
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


@pytest.mark.usefixtures("plugins")
def test_a_network_that_does_not_take_the_images_is_refused_before_the_first_trial():
    register_model(Tiny)(lambda settings, channels: (tiny(settings, channels)[0], 5))
    with pytest.raises(InputError, match=r"space.yaml: trainer: model tiny: .*shape \[2, 4\]; expected: \[b, 5\]"):
        check_data(FILE, digits("trainer.model={name: tiny}"))


def test_copies_groups_and_conflicts_are_told_at_the_start(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MT_SWEEP_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for path in [f"train/{kind}/{i:02}.png" for kind in ("a", "b") for i in range(40)] + ["test/a/90.png"]:
        write_image(tmp_path / "images" / path, rng.integers(0, 255, (8, 8, 3), np.uint8))
    for source, target in (("test/a/90", "train/a/80"), ("train/a/03", "train/b/81")):
        shutil.copy(tmp_path / f"images/{source}.png", tmp_path / f"images/{target}.png")
    small = {"labels": 10, "validation": 20, "verdict": 10, "root": tmp_path / "images", "conflicts": "leave_out"}
    small["groups"] = r"/(\d\d)\."
    settings = [f"trainer.dataset.{key}={value}" for key, value in small.items()] + ["trainer.batch_size=16"]
    spec = load_spec(REPOSITORY / "search_spaces" / "image_folder.yaml", tuple(settings))
    checked = check_data(FILE, spec)
    out = capsys.readouterr().out
    assert "2 training images with the same pixels as an image of another class are left out: train/a/03" in out
    assert "1 training image is a copy of test, validation or verdict images and is not trained on: train/a/80" in out
    assert "43 groups by dataset.groups\n" in out
    assert checked.purposes == {"labeled": 10, "unlabeled": 39, "validation": 20, "verdict": 10}
    assert checked.groups == {"training": 25, "validation": 10, "verdict": 5}


def test_a_sweep_keeps_the_cautions_about_its_images_for_its_summary_and_its_report(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(preflight, "look_alike_caution", lambda *_: "2 training images look almost like test images")
    sweep = begun(LocalHome(tmp_path), digits())
    assert "caution: 2 training images look almost like test images" in capsys.readouterr().out
    assert sweep.load_environment().cautions == ["2 training images look almost like test images"]
    assert sweep_report.build(sweep).cautions == ["2 training images look almost like test images"]


def test_what_is_left_out_and_what_looks_wrong_is_printed_a_line_each(tmp_path, capsys):
    for i in range(12):
        write_image(tmp_path / f"train/{('cat', 'dog')[i % 2]}/{i}.png", np.full((8, 8, 3), i % 2 * i * 20, np.uint8))
    (tmp_path / "val").mkdir()
    (tmp_path / "val/1.png").touch()
    dataset = f"{{name: image_folder, root: {tmp_path}, labels: 4, validation: 2}}"
    spec = load_spec(DIGITS, (f"trainer.dataset={dataset}", "trainer.batch_size=4", "finalists.baselines=[]"))
    for _ in range(2):  # also when the images were decoded before
        check_data(DIGITS, spec)
        printed = capsys.readouterr().out
        assert "left out: 1 file: in val/: validation images are drawn from train/" in printed
        assert "caution: each of the 12 images is of one colour; look at them" in printed
    assert "decoding" not in printed


@pytest.mark.parametrize("kind", ["missing", "empty"])
def test_a_file_of_weights_that_is_missing_or_empty_is_refused_before_it_is_needed(kind, tmp_path):
    weights = tmp_path / "weights.pth"
    if kind == "empty":
        weights.touch()
    why = "cannot be read: No such file or directory; it must be on every node" if kind == "missing" else "is empty"
    model = f"trainer.model={{name: timm, architecture: test_resnet, weights: {weights}}}"
    with pytest.raises(InputError, match=rf"^space\.yaml: trainer\.model\.weights: {weights} {why}"):
        check_folder(FILE, digits(model))
    weights.write_bytes(b"not looked at")
    assert check_folder(FILE, digits(model)) is None


@pytest.fixture
def images(tmp_path):
    return write_two_classes(tmp_path / "images")


def test_what_trials_would_stumble_over_is_refused_before_they_start(images):
    for override, told in (
        ("trainer.batch_size=100", "a batch takes 88 unlabeled images and 40 are left"),
        ("trainer.model={name: conv_large}", "conv_large needs images of at least 12x12 pixels"),
        ("trainer.augmentation.translate=8", "must be below the image size"),
        ("trainer.dataset.verdict=60", "is more than the 80 training images"),
    ):
        with pytest.raises(InputError, match=told):
            check_data(images, of_folder(images, override))


def test_a_cache_that_cannot_be_written_is_named(images, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MT_SWEEP_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="MT_SWEEP_CACHE"):
        check_data(images, of_folder(images))


def test_a_dangling_link_among_the_images_is_named(images):
    (images / "train" / "a" / "gone.png").symlink_to(images / "nowhere.png")
    with pytest.raises(InputError, match=r"gone\.png cannot be read"):
        check_data(images, of_folder(images))


def test_images_that_cannot_be_read_are_told_before_a_sweep_begins(images, capsys):
    for i in range(4):
        (images / "train" / "b" / f"torn-{i}.png").write_bytes(b"")
    file = REPOSITORY / "search_spaces" / "image_folder.yaml"
    with pytest.raises(InputError, match=r"torn-\d\.png cannot be read as an image"):
        check_data(file, of_folder(images))
    data = check_data(file, of_folder(images, "trainer.dataset.unreadable=skip"))
    assert sum(data.purposes.values()) == 80
    told = (
        "left out, since they cannot be read: 4 images: train/b/torn-0.png, train/b/torn-1.png, train/b/torn-2.png, ..."
    )
    assert told in capsys.readouterr().out
