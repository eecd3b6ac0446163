"""What the documents say is there is there."""

import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import mt_sweeps
from mt_sweeps.cli import cli
from mt_sweeps.spec.sweep_spec import SweepSpec
from mt_sweeps.spec.validation_errors import dotted_keys, known_keys
from mt_sweeps.study import ledger
from tests.helpers.command_line import IN_PROCESS, TINY, mt_sweep
from tests.helpers.markdown import anchors, blocks, links, sentences, words
from tests.helpers.training import write_image
from trainers import TrainerConfig
from trainers.data import cache, normalization

ROOT = Path(__file__).parents[1]
QUICK = {"trainer.steps": 20, "trainer.evaluate_every": 10, "finalists.seeds": 2, "finalists.baselines": ["supervised"]}
README = (ROOT / "README.md").read_text()
PROSE = [ROOT / "README.md", *sorted(set((ROOT / "docs").glob("*.md")) - {ROOT / "docs" / "commands.md"})]
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").rglob("*.md")]


def test_every_setting_is_documented_and_no_other():
    documented = set(re.findall(r"^\| `([a-z0-9_.]+)`", (ROOT / "docs" / "search-spaces.md").read_text(), re.MULTILINE))
    types = {"float", "int", "categorical"}
    assert documented == set(dotted_keys(TrainerConfig)) | set(known_keys(SweepSpec)) | types


def test_every_command_that_the_documents_name_exists():
    named = set()
    for file in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "search_spaces").glob("*.yaml")):
        named |= set(re.findall(r"mt-sweep ([a-z]+)", file.read_text()))
    assert named <= cli.commands.keys()
    assert {"run", "validate", "best", "export", "train", "dashboard", "list", "status"} <= named


def test_the_page_of_commands_is_what_their_help_prints():
    page = runpy.run_path(str(ROOT / "docs" / "commands.py"))
    assert page["PAGE"].read_text() == page["commands_page"](), (
        "docs/commands.md is out of date; write it again with: uv run --group dev python docs/commands.py"
    )


def test_every_file_format_is_in_the_table_with_its_current_number():
    code = [file.read_text() for package in ("mt_sweeps", "trainers") for file in (ROOT / package).rglob("*.py")]
    lines = [line for text in code for line in text.splitlines() if not line.startswith("EARLIER_")]
    current = {name for line in lines for name in re.findall(r"mt-sweeps-[a-z]+/\d+", line)}
    current |= {f"mt-sweeps-images/{cache.VERSION}"}  # written without its number in the code
    current |= {f"ledger `{ledger.FORMAT}", f"normalisation `{normalization.VERSION}"}
    table = (ROOT / "docs" / "formats.md").read_text()
    documented = re.findall(r"^\| [^|]+ \| `?((?:mt-sweeps-[a-z]+/|[a-z]+ `)\d+)` \|", table, re.MULTILINE)
    assert sorted(documented) == sorted(current)


def test_every_path_that_the_documents_name_exists():
    missing = [
        f"{file.relative_to(ROOT)}: {path}"
        for file in DOCUMENTS
        for path in re.findall(r"`((?:mt_sweeps|trainers|tests|benchmarks|docs)/[\w./-]*)`", file.read_text())
        if not (ROOT / path).exists()
    ]
    assert not missing


def test_every_link_of_the_documents_leads_somewhere():
    missing = [
        f"{file.relative_to(ROOT)}: {link}"
        for file in DOCUMENTS
        for link in links(file.read_text())
        if not re.match("https?:", link) and not _is_there(file, link)
    ]
    assert not missing


def _is_there(file: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = file.parent / path if path else file
    return target.exists() and (not anchor or anchor in anchors(target.read_text()))


@pytest.mark.parametrize("file", PROSE, ids=lambda file: file.name)
def test_no_sentence_is_longer_than_35_words(file):
    assert not [sentence for sentence in sentences(file.read_text()) if words(sentence) > 35]


def test_a_sentence_ends_where_it_should():
    text = (
        "# A heading\n\nUse [a `b.c`](d.md) 3.11. Or: not\nthis?\n\n- One;\n  two\n- three\n\n| a | b. |\n\n    code\n"
    )
    assert list(sentences(text)) == ["Use a `b.c` 3.11.", "Or: not this?", "One; two", "three"]


def test_the_commands_that_start_everything_stand_alone_in_the_readme():
    for command in (
        "pip install uv && uv run mt-sweep run search_spaces/digits.yaml",
        "pip install uv && uv run --group dev pytest",
    ):
        assert blocks(README).count(f"{command}\n") == 1


@pytest.mark.parametrize("file", sorted((ROOT / "docs").glob("*.md")), ids=lambda file: file.name)
def test_each_page_begins_with_whom_it_is_for(file):
    assert re.match(r"# .+\n\n\*For ", file.read_text())


def test_the_python_of_the_readme_runs(capsys):
    *_, code = blocks(README, "python")
    exec(compile(code.replace("steps=300", "steps=3"), "README.md", "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.system
def test_the_python_of_the_readme_that_loads_a_model_gives_the_classes_of_predict(tmp_path):
    tiny = [*TINY, "--trials", "2", "--set", "finalists.top=0"]
    mt_sweep("run", ROOT / "search_spaces/digits.yaml", IN_PROCESS, *tiny, folder=tmp_path)
    mt_sweep("export", "digits", "-o", "best.yaml", folder=tmp_path)
    model = mt_sweep("train", "best.yaml", folder=tmp_path).stdout.split("model: ")[1].strip()
    for number, brightness in enumerate((0, 90, 250)):
        write_image(tmp_path / f"new_images/{number}.png", np.full((20, 23), brightness, np.uint8))
    mt_sweep("predict", Path(model).parent.name, "new_images", "-o", "classes.csv", folder=tmp_path)
    expected = [line.split(",")[:2] for line in (tmp_path / "classes.csv").read_text().splitlines()[1:]]
    code, *_ = blocks(README, "python")
    served = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert [line.split()[:2] for line in served.stdout.splitlines()] == expected


@pytest.mark.system
def test_the_python_that_runs_sweeps_in_the_documents_runs(tmp_path, monkeypatch, capsys):
    def quick(file, **_):
        return run(file, trials=1, overrides=QUICK, in_process=True)

    run, texts = mt_sweeps.run, ((ROOT / "docs" / "python.md").read_text(), README)
    (tmp_path / "search_spaces").symlink_to(ROOT / "search_spaces")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mt_sweeps.run", quick)
    page, (_, of_readme, _) = (blocks(text, "python") for text in texts)
    code = "\n".join([*page, of_readme])
    exec(compile(code, "python.md", "exec"), {})
    assert "no-such-sweep: no such sweep" in capsys.readouterr().out


def test_the_citation_names_the_version_of_the_package():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
