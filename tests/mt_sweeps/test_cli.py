import subprocess
import sys

from click.testing import CliRunner

from mt_sweeps.cli import cli
from tests.helpers.command_line import DIGITS


def test_help_names_every_command_and_imports_nothing_heavy():
    script = (
        "import sys\nfrom mt_sweeps import cli\ntry:\n    cli.cli(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = 'torch ray mlflow optuna numpy pydantic rich ruamel sklearn'.split()\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"
    for command in (
        "init",
        "run",
        "validate",
        "best",
        "export",
        "train",
        "dashboard",
        "list",
        "status",
        "resume",
        "preview",
        "plan",
        "stop",
        "rm",
        "report",
    ):
        assert f"\n  {command} " in out


def test_an_empty_home_lists_no_sweeps_and_says_how_to_start_one(tmp_path):
    result = CliRunner().invoke(cli, ["list", "--home", str(tmp_path)])
    assert result.exit_code == 0
    assert "mt-sweep run" in result.output


def test_validate_takes_several_files_and_tells_of_all_that_are_wrong(tmp_path):
    files = []
    for i in range(2):
        bad = tmp_path / f"bad{i}.yaml"
        bad.write_text(DIGITS.read_text().replace("trials: 16", "trials: 0"))
        files.append(str(bad))
    mt_sweep = f"{sys.prefix}/bin/mt-sweep"
    done = subprocess.run([mt_sweep, "validate", str(DIGITS), *files], capture_output=True, text=True)
    assert done.returncode == 2
    assert f"{DIGITS}: valid" in done.stdout
    assert all(f"{file}: trials: should be" in done.stderr for file in files)
    assert "Traceback" not in done.stderr


def test_trials_are_added_to_a_sweep_by_a_plus():
    for wrong in ("32", "+", "+0", "-3", "+x"):
        result = CliRunner().invoke(cli, ["resume", "any", "--trials", wrong])
        assert result.exit_code == 2
        assert "write +N" in result.output


def test_a_sweep_is_resumed_on_a_cluster_or_in_this_process_not_both():
    result = CliRunner().invoke(cli, ["resume", "any", "--address", "http://127.0.0.1:1", "--in-process"])
    assert result.exit_code == 2
    assert "--in-process runs trials on this machine; leave it out, or --address" in result.output


def test_a_wrong_command_line_is_exit_status_2():
    mt_sweep = f"{sys.prefix}/bin/mt-sweep"
    done = subprocess.run([mt_sweep, "run"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "Missing argument 'FILE'" in done.stderr
