"""`doctor`: check what a sweep needs of this machine and of its servers, and say what to do."""

import os
import shutil
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from packaging.requirements import Requirement

from mt_sweeps.errors import InputError
from mt_sweeps.execution import gpu_sharing, ray_cluster
from mt_sweeps.execution.nodes import on_each_node
from mt_sweeps.execution.preflight import check_data
from mt_sweeps.execution.ray_address import cluster_address
from mt_sweeps.execution.resources import Share, share_of
from mt_sweeps.formatting import counted
from mt_sweeps.spec.load import load_spec
from mt_sweeps.spec.sections import Tracking
from mt_sweeps.spec.sweep_spec import SweepSpec
from mt_sweeps.storage import file_store
from mt_sweeps.storage.local import LocalHome
from mt_sweeps.storage.open import open_home
from mt_sweeps.tracking.client import connection_problem
from mt_sweeps.tracking.mlflow_errors import first_line
from trainers.files import cache_folder

FORMAT = "mt-sweeps-doctor/1"
_MOST_SKEW = 5.0  # seconds between clocks, beyond which curves of several machines no longer fit together
_SKEW_REFUSED = 900.0  # seconds, beyond which an object store refuses what is signed
_LEAST_FREE = 1e9  # bytes
_DRIVER = Path("/proc/driver/nvidia/gpus")  # a folder each, of NVIDIA's driver on Linux
_LOOPBACK = ("localhost", "127.0.0.1", "::1")

State = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        name: of what was checked.
        state: `warning` if a sweep runs, but something will be missing.
        said: the result in words.
        todo: what to do about it; empty if nothing is wrong.
    """

    name: str
    state: State
    said: str
    todo: str = ""


@dataclass
class _Clocks:
    """The clocks of other machines: by how many seconds each is ahead of this one."""

    ahead: dict[str, float] = field(default_factory=dict)

    def compare(self, whose: str, ask: Callable[[], float], resolution: float = 0.0) -> None:
        """Compare a clock over a network; a difference that the delay of the answer explains counts as 0."""
        before = time.time()
        answer = ask()
        after = time.time()
        low, high = answer - after, answer + resolution - before
        self.ahead[whose] = 0.0 if low <= 0 <= high else min(low, high, key=abs)


def examine(file: Path | None, home: str | None, overrides: tuple[str, ...], address: str | None) -> Iterator[Check]:
    """Run all checks, one after the other.

    Args:
        file: a search-space file whose storage, MLflow server, images and resources are checked too, or None.
        home: as typed, or None.
        overrides: `key=value` into the file.
        address: of the job server of a cluster, which `submit` would use: Ray is then not started on this machine.

    Raises:
        InputError: the file is wrong.
    """
    spec = None if file is None else load_spec(file, overrides)
    clocks = _Clocks()
    yield _python()
    # First: where only one process may use a GPU, NVIDIA's service could not once this process has.
    sharing = [] if spec is None or address is not None else list(_sharing(spec))
    yield _gpus()
    yield from sharing
    if address is not None:
        yield from _tried("submit", lambda: _job_server(address))
    if address is None or cluster_address():
        yield from _tried("ray", lambda: _ray(file, spec, clocks))
    yield from _tried("ledger", lambda: _ledger(home, clocks))
    if spec is not None:
        yield from _tried("store", lambda: _store(spec, clocks))
        yield from _tried("mlflow", lambda: _mlflow(spec.tracking, clocks))
        yield from _tried("images", lambda: _images(file, spec))
    yield from _credentials(spec)
    yield _disk()
    yield _clock(clocks)


def text(check: Check) -> str:
    """Return a check for the terminal."""
    todo = f"\n{'':9}{'':13}{check.todo}" if check.todo else ""
    return f"{check.state:9}{check.name:13}{check.said}{todo}"


def as_json(checks: list[Check]) -> dict[str, Any]:
    """Return the checks for scripts; docs/json.md describes them."""
    return {"format": FORMAT, "checks": [asdict(check) for check in checks]}


def summary(checks: list[Check]) -> str:
    """Return the last line of the output."""
    counts = [
        counted(count, state)
        for state in ("problem", "warning")
        if (count := sum(one.state == state for one in checks))
    ]
    return ", ".join(counts) or "nothing is wrong"


def _tried(name: str, look: Callable[[], Check]) -> Iterator[Check]:
    """Run one check; an error is a result, too."""
    try:
        yield look()
    except InputError as error:
        for problem in error.problems:
            said, _, todo = problem.rpartition("; ")
            yield Check(name, "problem", said or todo, todo if said else "")
    except Exception as error:  # of any library
        yield Check(name, "problem", first_line(error), "its own message is all that is known")


def _python() -> Check:
    wrong = []
    for line in requires("mt-sweeps") or []:
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = version(wanted.name)
        except PackageNotFoundError:
            wrong.append(f"{wanted.name} is missing")
        else:
            if not wanted.specifier.contains(installed, prereleases=True):
                wrong.append(f"{wanted.name} is {installed}, not {wanted.specifier}")
    there = (
        f"{sys.version.split()[0]}, mt-sweeps {version('mt-sweeps')}, torch {version('torch')}, ray {version('ray')}"
    )
    if wrong:
        return Check("python", "problem", f"{there}: {', '.join(wrong)}", "install what requirements.txt pins")
    return Check("python", "ok", there)


def _gpus() -> Check:
    import torch

    seen = len(list(_DRIVER.glob("*")))
    if not torch.cuda.is_available():
        if seen:
            return Check(
                "gpus",
                "problem",
                f"the driver has {counted(seen, 'GPU')} and torch {torch.__version__} can use none",
                "update the driver, or install a torch built for it",
            )
        return Check("gpus", "ok", "none: trials run on the processor, one per core")
    gpus = []
    for number in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(number)
        try:
            torch.ones(8, 8, device=f"cuda:{number}").sum().item()
        except RuntimeError as error:
            return Check("gpus", "problem", f"GPU {number} ({about.name}) fails: {first_line(error)}", "reset it")
        gpus.append(f"{about.name}, {about.total_memory / 2**30:.0f} GiB")
    return Check("gpus", "ok", "; ".join(gpus))


def _sharing(spec: SweepSpec) -> Iterator[Check]:
    """Check whether trials that share a GPU compute at the same time: without NVIDIA's service they take turns."""
    import torch

    if gpu_sharing.trials_per_gpu(spec.resources) == 1 or not torch.cuda.is_available():
        return
    yield from _tried("mps", lambda: _mps(spec))


def _mps(spec: SweepSpec) -> Check:
    if cluster_address():
        problem = "" if gpu_sharing.runs() else "it does not run"
        todo = f"start it on each node: `{gpu_sharing.PROGRAM} -d`"
    else:
        with gpu_sharing.shared_gpus(spec.resources) as problem:
            todo = "see that NVIDIA's driver is installed with all of its programs; or give each trial a GPU"
    if problem:
        return Check("mps", "warning", gpu_sharing.in_turns(spec.resources, problem), todo)
    return Check("mps", "ok", "trials that share a GPU compute at once, by NVIDIA's Multi-Process Service")


def _ray(file: Path | None, spec: SweepSpec | None, clocks: _Clocks) -> Check:
    nodes = ray_cluster.start()
    try:
        cores, gpus = (sum(node.get(kind, 0) for node in nodes) for kind in ("CPU", "GPU"))
        what = f"{cores:g} cores and {gpus:g} GPUs"
        if spec is not None:
            share = share_of(file or Path(), spec, nodes)
            what += f", {counted(share.concurrent, 'trial')} at once"
        if not cluster_address():
            return Check("ray", "ok", f"started on this machine and ended again: {what}")
        answers = on_each_node(Share(0, 0, 1), _time, None)
        for node, answer in answers.items():
            clocks.compare(f"node {node}", lambda answer=answer: answer(60))  # type: ignore[misc]
        return Check("ray", "ok", f"joined {cluster_address()}: {counted(len(answers), 'node')}, {what}")
    finally:
        ray_cluster.stop()


def _time(_: None) -> float:
    return time.time()


def _job_server(address: str) -> Check:
    from mt_sweeps.commands.submit import connect

    connect(address)
    return Check("submit", "ok", f"{address} takes jobs, and has our version of Ray")


def _ledger(where: str | None, clocks: _Clocks) -> Check:
    home = open_home(where)
    home.check_writable()
    count = counted(len(home.sweeps()), "sweep")
    if home.is_shared:
        from mt_sweeps.storage.postgres import clock

        clocks.compare("PostgreSQL", lambda: clock(home.address))
    return Check("ledger", "ok", f"{home.address}: {count}")


def _store(spec: SweepSpec, clocks: _Clocks) -> Check:
    if spec.storage is None:
        return Check("store", "ok", "trials are kept beside the ledger")
    file_store.check_file_store(spec.storage)
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    if spec.storage.startswith(file_store.SCHEME) and endpoint:
        _compare_server(clocks, "the object store", endpoint)
    return Check("store", "ok", f"{spec.storage}: written, read, removed")


def _mlflow(settings: Tracking, clocks: _Clocks) -> Check:
    if settings.uri is None:
        return Check("mlflow", "ok", "embedded, in the home directory")
    problem = connection_problem(LocalHome(), settings)
    if problem is not None:
        return Check(
            "mlflow",
            "warning",
            f"{settings.uri} does not answer ({problem})",
            "start it, or correct tracking.uri; a sweep would run, and MLflow be completed when it answers",
        )
    if settings.uri.startswith("http"):
        _compare_server(clocks, "MLflow", settings.uri)
    return Check("mlflow", "ok", f"{settings.uri} lets us in")


def _images(file: Path | None, spec: SweepSpec) -> Check:
    data = check_data(file or Path(), spec)
    images = ", ".join(f"{count:,} {purpose}" for purpose, count in data.purposes.items())
    return Check("images", "ok", f"{len(data.classes)} classes: {images}")


def _credentials(spec: SweepSpec | None) -> Iterator[Check]:
    """Check that credentials are set and not sent unencrypted; whether they are right, the other checks show."""
    name, env = "credentials", os.environ
    wrong: list[Check] = []
    if env.get("RAY_AUTH_MODE", "") == "token" and not env.get("RAY_AUTH_TOKEN") and not _token_file().exists():
        wrong.append(Check(name, "problem", "RAY_AUTH_MODE is token and there is no token", "set RAY_AUTH_TOKEN"))
    if cluster_address() and env.get("RAY_AUTH_MODE", "") != "token":
        todo = "start it with RAY_AUTH_MODE=token and RAY_AUTH_TOKEN, and set both here"
        wrong.append(Check(name, "warning", "the Ray cluster lets everybody in who reaches it", todo))
    uri = spec.tracking.uri if spec is not None else None
    sent = {
        "MLFLOW_TRACKING_PASSWORD": uri or "",
        "AWS_SECRET_ACCESS_KEY": env.get("AWS_ENDPOINT_URL", "") if spec is not None and spec.storage else "",
    }
    for variable, address in sent.items():
        parts = urlsplit(address)
        if env.get(variable) and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            todo = "use https, or a network that only you are on"
            wrong.append(Check(name, "warning", f"what {variable} protects goes to {address} unencrypted", todo))
    known = ("PGPASSWORD", "MLFLOW_TRACKING_USERNAME", "AWS_ACCESS_KEY_ID", "RAY_AUTH_TOKEN")
    there = [variable for variable in known if env.get(variable)]
    yield from wrong or [Check(name, "ok", f"in the environment: {', '.join(there) or 'none, and none is needed'}")]


def _token_file() -> Path:
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()


def _disk() -> Check:
    places = {"here": Path.cwd(), "decoded images": cache_folder(), "temporary files": Path(tempfile.gettempdir())}
    free = {}
    for what, path in places.items():
        there = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
        free[what] = (path, shutil.disk_usage(there).free)
    sizes = ", ".join(f"{size / 1e9:,.1f} GB for {what}" for what, (_, size) in free.items())
    short = [f"{path}" for path, size in free.values() if size < _LEAST_FREE]
    if short:
        todo = f"make room in {', '.join(short)}, or set --home, MT_SWEEP_CACHE or TMPDIR"
        return Check("disk", "problem", f"free: {sizes}", todo)
    return Check("disk", "ok", f"free: {sizes}")


def _compare_server(clocks: _Clocks, whose: str, address: str) -> None:
    """Compare the clock of an HTTP server: every answer has a date."""

    def ask() -> float:
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: S310
                date = answer.headers["Date"]
        except urllib.error.HTTPError as error:
            date = error.headers["Date"]
        return parsedate_to_datetime(date).timestamp()

    try:
        clocks.compare(whose, ask, resolution=1.0)
    except (OSError, TypeError, ValueError):  # it does not answer, which another check shows, or gives no date
        return


def _clock(clocks: _Clocks) -> Check:
    if not clocks.ahead:
        return Check("clock", "ok", "no other machine to compare with")
    worst = max(clocks.ahead, key=lambda whose: abs(clocks.ahead[whose]))
    by = clocks.ahead[worst]
    if abs(by) <= _MOST_SKEW:
        return Check("clock", "ok", f"{counted(len(clocks.ahead), 'other clock')}, none {_MOST_SKEW:g} s from ours")
    state: State = "problem" if abs(by) >= _SKEW_REFUSED else "warning"
    difference = f"{worst} is {abs(by):,.0f} s {'ahead of' if by > 0 else 'behind'} this machine"
    return Check("clock", state, difference, "set both by NTP")
