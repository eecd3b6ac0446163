"""What is handed to a cluster. On a real one: tests/system/team."""

import pytest

from mt_sweeps.commands import submit
from mt_sweeps.plugins import import_plugins
from tests.helpers.command_line import DIGITS
from tests.helpers.plugins import plugins, write_plugin  # noqa: F401 (a fixture)


class Cluster:
    """A job server whose driver starts at once."""

    def submit_job(self, entrypoint, runtime_env):
        self.entrypoint = entrypoint
        self.environment = runtime_env
        return "job-1"

    def get_job_status(self, _):
        return "RUNNING"

    def get_job_logs(self, _):
        return "ray\njob job-1: mt-sweep\n  files     /home/digits\n"


@pytest.fixture
def cluster(monkeypatch):
    made = Cluster()
    monkeypatch.setattr(submit, "connect", lambda _: made)
    return made


@pytest.mark.usefixtures("plugins")
def test_the_driver_there_is_told_which_plugins_the_sweep_uses(cluster, tmp_path, monkeypatch):
    for module in ("sent_one", "not_used"):
        write_plugin(tmp_path, module, module)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MT_SWEEP_PLUGINS", "sent_one")  # which the driver's environment need not have
    import_plugins(["sent_one", "not_used"], "--plugin")
    override = ("trainer.model={name: sent_one}",)
    assert "digits runs there" in submit.submit(DIGITS, "http://head:8265", None, override, None)
    assert cluster.entrypoint.endswith("| mt-sweep run /dev/stdin --allow-paths --plugin=sent_one")
    submit.resume("digits", "http://head:8265", 4, ("sent_one",))
    assert cluster.entrypoint.endswith("mt-sweep resume digits --trials=+4 --plugin=sent_one")
    assert cluster.environment is None
