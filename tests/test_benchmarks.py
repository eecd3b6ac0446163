"""Every script in benchmarks/ still works: each runs with its own options at the smallest size and prints its table."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.own_folders import lay_out
from mt_sweeps.spec.prior_points import MEASURED

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
LENGTH = "trials=1 trainer.steps=10 trainer.evaluate_every=5 finalists.baselines=[supervised] finalists.seeds=2"
# Folders of small images: IMAGES has ten classes, SETS a folder per set. OUT is empty.
QUICK = {
    "accuracy.py precision": "--seeds 2 --steps 4 --workers 1 --images IMAGES --image-steps 2 --image-seeds 2",
    "choosing.py": "--repetitions 3 --trials 4",
    "cifar10.py": "--images IMAGES --directory OUT --steps 2 --batch-size 8 --labels 400 --validation 20 "
    "--evaluate-every 1 --precision fp32 --device cpu",
    "cross_validation.py": "natural:20 --images SETS --draws 2 --trials 2 --steps 2 --results OUT/found.json",
    "curves.py": "--images IMAGES --output OUT/curves.png --steps 2 --batch-size 8 --labels 20 --validation 20",
    "defaults.py": "--repetitions 2",
    "defaults.py --arm supervised": "--repetitions 2",
    "defaults.py --start probe": "--repetitions 2",
    "fitted_search.py": "--repetitions 2 --trials 4 --tasks digits:20 --workers 1",
    "fitted_search.py --fit": "--tasks digits:20",
    "image_folder.py": "--images 120 --labels 20",
    "imbalance.py": "SETS --sets natural --seeds 2 --labels 20 --steps 2 --image-size 16 --results OUT/found.json",
    "launches.py": "--only small·CNN",
    "pruning.py": "--repetitions 2 --trials 12 --tasks 1 --shown 0",
    "quick_start_search.py": "--seeds 2 --draws 2 --results OUT/found.json --set trials=3 trainer.steps=20 "
    "trainer.evaluate_every=10",
    "recorded.py digits:5": "--trainings 1 --output OUT",
    "search.py": "--repetitions 2 --trials 4 --tasks flat --workers 1",
    "warm_start.py": "--repetitions 2 --trials 4 --tasks flat --workers 1",
    "strong_views.py": "--rounds 1 --batch-size 2",
    "trained_search.py digits:5": "--repetitions 2 --trials 2 --steps 10 --workers 1",
    "trained_search.py four-keys": "--repetitions 2 --trials 2 --steps 10 --workers 1 --arms tpe·+·asha",
    "throughput.py": "--images IMAGES --model small_cnn conv_large_recipe --rounds 1 --seconds 0.01 --batch-size 4 "
    "--labels 20 --precision fp32",
    "verdict.py": "--repetitions 1",
}
# Some minutes together; with MT_SWEEPS_ALL_BENCHMARKS=1.
LONGER = {
    "accuracy.py gain": "--seeds 2 --steps 24 --workers 1",
    "fine_tuning.py": "SETS steel:5 --seeds 2 --steps 2 --image-size 32 --results OUT/found.json",
    "outages.py": "--seconds 1 --modes no·window server·killed",
    "overhead.py": "--trials 22 --filled 2 --sampler tpe --plain 0 --in-process",
    "overhead.py --workers 3": "--trials 21 --reports 2",
    "own_folders.py": f"SETS steel --labels 20 --output OUT --in-process --set {LENGTH}",
    "peers.py": "--trials 2 --steps 10 --rounds 1 --ways tune-reuse pool",
    "quick_start.py": f"--repetitions 1 --in-process --set {LENGTH}",
    "reading.py": "--trials 20 --reports 2 --times 1 --commands list,status",
    "real_images.py": "SETS natural:5 --trials 1 --seeds 2 --steps 1 --image-size 32 --results OUT",
    "recipes.py": "conv_large_svhn_250_supervised",
    "time_left.py": "--in-process --plot OUT/plot.svg --scripted 0.05 --set trials=4 finalists.baselines=[]",
    "verdict.py --estimate": "--seeds 3 --steps 10 --outcomes OUT",
}
COMMANDS = QUICK | LONGER
IN_OTHER_TESTS = {"fuzz_files.py", "fuzz_homes.py", "fuzz_models.py", "gpu_check.py"}


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """The folders that commands name."""
    root = tmp_path_factory.mktemp("benchmarks")
    make(root / "images" / "train", 10, 210, 12)
    make(root / "images" / "test", 10, 2, 12)
    for name in ("natural", "steel"):
        make(root / "sets" / name / "train", 4, 120, 16)
        make(root / "sets" / name / "test", 4, 5, 16)
    return {"IMAGES": root / "images", "SETS": root / "sets"}


def make(folder: Path, classes: int, of_each: int, size: int) -> None:
    """Images of noise around a brightness that tells the class."""
    rng = np.random.default_rng(len(folder.parts))
    for label in range(classes):
        (folder / str(label)).mkdir(parents=True)
        for number in range(of_each):
            pixels = rng.integers(20 * label, 20 * label + 60, (size, size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / str(label) / f"{number}.png")


@pytest.mark.system
def test_the_check_of_a_gpu_runs_without_one(folders, tmp_path):
    every_part = ["--images", str(folders["IMAGES"])]
    parts = every_part if os.environ.get("MT_SWEEPS_ALL_BENCHMARKS") else ["--only", "parity", "bit_for_bit", "speed"]
    output = tmp_path / "found.json"
    command = [BENCHMARKS / "gpu_check.py", "--device", "cpu", "--tiny", "--output", output, *parts]
    done = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    assert "failed: nothing" in done.stdout, done.stdout
    found = json.loads(output.read_text())
    assert len(found["parity"]) > 5
    assert found["bit_for_bit"]["passed"]
    assert all(one["time.images_per_second"] > 0 for one in found["speed"].values())


@pytest.mark.system
@pytest.mark.parametrize("name", COMMANDS if os.environ.get("MT_SWEEPS_ALL_BENCHMARKS") else QUICK)
def test_a_benchmark_runs_and_prints_a_table_of_finite_numbers(name, folders, tmp_path):
    places = {key: str(folder) for key, folder in {**folders, "OUT": tmp_path / "out"}.items()}
    (tmp_path / "out").mkdir()
    options = [re.sub("IMAGES|SETS|OUT", lambda found: places[found[0]], word) for word in COMMANDS[name].split()]
    script, *command = name.split()
    start = ["-m", "benchmarks.outages"] if script == "outages.py" else [str(BENCHMARKS / script)]
    before = committed()
    done = subprocess.run(
        [sys.executable, *start, *command, *(option.replace("·", " ") for option in options)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "MT_SWEEP_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=900,
    )
    output = f"{done.stdout}\n{done.stderr}"
    # With so few repetitions, the share of one cell can be over the limit of the verdict: exit status 1.
    assert done.returncode in ((0, 1) if name == "verdict.py" else (0,)), output
    assert "Traceback" not in done.stderr, output
    found = tables(done.stdout)
    assert found, output
    for head, separator, *rows in found:
        assert rows, output
        assert re.fullmatch("[| -]+", separator), output
        assert {row.count("|") for row in rows} == {head.count("|")}, output
        assert not re.search(r"\b(nan|inf|NaN)\b", "\n".join(rows)), output
        assert all(re.search(r"\d", row) for row in rows if not row.startswith("| no ")), output
    assert committed() == before


def tables(output: str) -> list[list[str]]:
    """Return the Markdown tables: the lines of each."""
    found = re.findall(r"(?:^\|.*\n)+", output, re.MULTILINE)
    return [table.splitlines() for table in found]


def committed() -> dict[Path, tuple[int, int]]:
    """Return time and size of every file of results."""
    return {file: (file.stat().st_mtime_ns, file.stat().st_size) for file in (BENCHMARKS / "results").rglob("*.*")}


def test_every_benchmark_is_run_by_a_test():
    scripts = {file.name for file in BENCHMARKS.glob("*.py") if "__main__" in file.read_text()}
    assert {name.split()[0] for name in COMMANDS} == scripts - IN_OTHER_TESTS


@pytest.mark.system
@pytest.mark.parametrize("arm", MEASURED)
def test_the_measured_prior_is_what_the_benchmark_finds(arm):
    command = [sys.executable, BENCHMARKS / "defaults.py", "--repetitions", "1", "--arm", arm]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    places = [found.find(f"`{good}`") for good in MEASURED[arm]]
    assert -1 not in places, found
    assert places == sorted(places), "the best first"


def test_a_set_of_tracks_is_laid_out_so_that_files_name_their_track_and_no_class(tmp_path):
    for part in ("train", "test"):
        make(tmp_path / part, 2, 1, 4)
        for label in ("0", "1"):
            for frame in range(6):
                image = tmp_path / part / label / "0.png"
                shutil.copyfile(image, tmp_path / part / label / f"{frame // 3}_{frame}.png")
            image.unlink()
    source = (tmp_path / "signs").resolve()
    source.mkdir()
    for part in ("train", "test"):
        (tmp_path / part).rename(source / part)
    laid_out = lay_out(source, tmp_path / "root", 8)
    assert laid_out.options == ["--groups", "(drive[0-9]+)_"]
    labeled = list((tmp_path / "root" / "train").glob("*/*"))
    assert len(labeled) == 8
    assert len(list((tmp_path / "root" / "unlabeled").iterdir())) == 4
    assert all(re.fullmatch(r"drive\d{4}_\d\.png", file.name) for file in labeled)
