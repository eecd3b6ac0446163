"""`submit`: run a sweep on a cluster, through Ray's job server. The file is sent, the images are not."""

import shlex
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mt_sweeps.errors import InputError, SweepError
from mt_sweeps.execution.preflight import spec_versions
from mt_sweeps.plugins import modules_in, named_plugins
from mt_sweeps.program import program
from mt_sweeps.spec import yaml_file
from mt_sweeps.spec.load import load_spec
from mt_sweeps.terminal import print

_FILE, _CONTENT = "/dev/stdin", "MT_SWEEP_FILE"  # what a driver reads; where its content is until then
_STARTED = "  files  "  # the line that a driver prints once nothing of the file or the cluster is wrong
_LARGEST = 100_000  # bytes, of what an environment variable can hold on Linux
_START_SECONDS = 3600  # seconds that a driver may need before it, where images are decoded the first time
_OVER = ("FAILED", "STOPPED", "SUCCEEDED")


def submit(file: Path, address: str, name: str | None, overrides: tuple[str, ...], trials: int | None) -> str:
    """Run a sweep on a cluster; wait until its driver has started, so that errors are shown here.

    Args:
        file: the search-space file; validated here, before anything is sent.
        address: of the job server: http://host:8265.
        name: of the sweep; none: that of the file, made unique.
        overrides: `key=value` into the file.
        trials: overrides the file's number of trials.

    Returns:
        How to follow it.

    Raises:
        InputError: the file, the address, the token or the versions are wrong, or the driver refused.
        SweepError: the cluster did not begin within an hour.
    """
    spec = load_spec(file, (*overrides, *([f"trials={trials}"] if trials is not None else [])))
    for key in ("root", "label_file", "test_label_file"):
        path = spec.trainer.get("dataset", {}).get(key)
        if path is not None and not Path(path).is_absolute():
            raise InputError(
                f"{file}: trainer.dataset.{key}: {path} is relative; name it as it is on the nodes, from /"
            )
    plugins = [f"--plugin={module}" for module in modules_in(spec_versions(spec))]
    # The paths were allowed here, or typed.
    command = ["run", _FILE, "--allow-paths", *(["--name", name] if name else []), *plugins]
    content = yaml_file.dump(spec.model_dump(exclude_none=True))
    if len(content.encode()) > _LARGEST:
        raise InputError(
            f"{file}: larger than {_LARGEST:,} bytes; it cannot be sent, run it on the head by `{program()} run`"
        )
    try:
        return _submit_job(address, command, content)
    except InputError as error:
        raise InputError(*(problem.replace(_FILE, str(file)) for problem in error.problems)) from None


def resume(name: str, address: str, more: int, plugins: tuple[str, ...] = (), hours: float = 0.0) -> str:
    """Resume a sweep on a cluster; as `submit`.

    Args:
        name: of the sweep.
        address: of the job server.
        more: trials to search with beyond those it was started with.
        plugins: modules that the driver there is to import.
        hours: more than its budget had.
    """
    added = [*([f"--trials=+{more}"] if more else []), *([f"--hours=+{hours:g}"] if hours else [])]
    options = [*added, *(f"--plugin={module}" for module in named_plugins(plugins))]
    return _submit_job(address, ["resume", name, *options])


def _submit_job(address: str, command: list[str], content: str = "") -> str:
    client = connect(address)
    # In the environment: Ray would send a working directory to every node, and delete it before the driver ends.
    job = client.submit_job(
        entrypoint=_entrypoint(command, bool(content)),
        runtime_env={"env_vars": {_CONTENT: content}} if content else None,
    )
    print(f"job {job} at {address}", flush=True)
    return _wait_until_started(client, address, job)


def _entrypoint(command: list[str], reads_file: bool) -> str:
    """Return the shell command of the job: the driver, if the head has this version of mt-sweeps; else an error."""
    own = version("mt-sweeps")
    other = f"error: the cluster has mt-sweeps $there and this machine {own}; install the same"
    check = f'there=$(mt-sweep --version | cut -d" " -f3); [ "$there" = "{own}" ] || {{ echo "{other}"; exit 2; }}'
    read = f'printf %s "${_CONTENT}" | ' if reads_file else ""
    return f"{check}; {read}{shlex.join(['mt-sweep', *command])}"


def connect(address: str) -> Any:
    """Return Ray's client of a job server.

    Raises:
        InputError: nothing answers there, it refuses the token, or it has another version of Ray.
    """
    from mt_sweeps.execution import ray_address, ray_cluster, ray_private

    ray_address.check_without_credentials("--address", address)
    ray_cluster.set_environment()
    try:
        import ray
        from ray.job_submission import JobSubmissionClient

        client = JobSubmissionClient(address)
        cluster_version = ray_private.cluster_version(client)
    except (ImportError, AttributeError) as error:
        raise InputError(f'submit needs more of Ray ({error}); install it: pip install "mt-sweeps[team]"') from None
    except Exception as error:  # Ray's client raises many kinds if no server answers, or another one
        raise InputError(
            f"--address {address}: no job server of Ray answers there, or not to us ({ray_cluster.first_line(error)}); "
            "give the address of the dashboard (http://host:8265), and set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
        ) from None
    if cluster_version != ray.__version__:
        raise InputError(
            f"--address {address}: the cluster has Ray {cluster_version} and this machine {ray.__version__}; install "
            "the same"
        )
    return client


def _wait_until_started(client: Any, address: str, job: str) -> str:
    until, printed = time.monotonic() + _START_SECONDS, 0
    while time.monotonic() < until:
        over = any(str(client.get_job_status(job)).endswith(state) for state in _OVER)
        # The first lines are Ray's own; those of the driver come after the one with its command.
        _, _, log = client.get_job_logs(job).partition(f"job {job}: ")
        lines = log.splitlines()[1:]
        for line in lines[printed:]:
            print(f"  {line}", flush=True)
        printed = len(lines)
        started = next((line for line in lines if line.startswith(_STARTED)), None)
        if started is not None:
            sweep = Path(started.removeprefix(_STARTED).split()[0]).name
            return (
                f"{sweep} runs there, and goes on without this machine; from anywhere that reaches its ledger:\n"
                f"  {program()} status {sweep}      {program()} stop {sweep}      {program()} export {sweep}\n"
                f"its log: ray job logs --address {address} --follow {job}"
            )
        if over:
            wrong = "\n".join(line for line in lines if line.startswith("error: "))
            raise InputError(f"the driver at {address} refused: {wrong.removeprefix('error: ') or f'see job {job}'}")
        time.sleep(0.5)
    raise SweepError(f"the cluster has not begun the job {job} within {_START_SECONDS / 3600:g} h; see {address}")
