"""`run`: start a sweep. The life of every sweep, step by step:

1. The file is validated (`load_spec`).
2. The machine is checked: the name, the images, the storage, MLflow, Ray and its GPUs, the disk (`preflight`).
3. The forecast is printed.
4. The sweep's store gets the resolved file and the environment, and the ledger is created (`_create`).
5. The ledger is opened, and what a dead driver left running waits again (`conduct`, which `resume` calls too).
6. An engine runs the trials of all arms.
7. The best configuration and the report are written.
8. MLflow is completed and the summary printed.
"""

import platform
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

from mt_sweeps.commands.conduct import check_mlflow, conduct, print_places, started_engine
from mt_sweeps.commands.notify import Notifier
from mt_sweeps.commands.warm_start import warm_start, with_prior_points
from mt_sweeps.execution import forecast as forecasts
from mt_sweeps.execution.preflight import DatasetCheck, check_data, check_disk, check_storage, spec_versions
from mt_sweeps.execution.resources import Share
from mt_sweeps.spec.arms import Arm
from mt_sweeps.spec.load import load_spec
from mt_sweeps.spec.sweep_spec import SweepSpec
from mt_sweeps.storage.environment import Environment, file_digest
from mt_sweeps.storage.home import Home, SweepStore
from mt_sweeps.study.ledger import Ledger
from mt_sweeps.study.trial import Prior
from mt_sweeps.terminal import print


def run_sweep(
    file: Path,
    home: Home,
    name: str | None,
    overrides: tuple[str, ...],
    trials: int | None,
    in_process: bool = False,
    notify: str | None = None,
) -> SweepStore:
    """Start a new sweep and run it to its end.

    Args:
        file: the search-space file.
        home: where the sweep will live.
        name: of the sweep, or None for the name in the file, made unique.
        overrides: `key=value` into the file.
        trials: overrides the number of trials in the file.
        in_process: run the trials in this process, one after another, without Ray.
        notify: a command that gets the status of the sweep, as `Notifier` runs it.

    Returns:
        The sweep.

    Raises:
        InputError: the file or the machine cannot do it; nothing has started.
        SweepError: the sweep ended without a result.
    """
    spec = load_spec(file, (*overrides, *([f"trials={trials}"] if trials is not None else [])))
    home.new_sweep(name, spec.name)  # refuses a name that is taken, before the work
    check_storage(file, home, spec)
    data = check_data(file, spec)
    earlier, taken = warm_start(file, home, spec, data.fingerprint)
    prior, known = with_prior_points(spec, len(data.classes), data.purposes["unlabeled"], earlier)
    mlflow_problem = check_mlflow(home, spec)
    with started_engine(file, spec, data, in_process) as (share, spec):
        planned = forecasts.forecast(spec, share.concurrent)
        check_disk(home, spec.storage, planned.disk_bytes)
        sweep = home.create_sweep(name, spec.name)
        spec = spec.model_copy(update={"name": sweep.name})
        _create(sweep, spec, data, share, file, prior)
        print(forecasts.text(spec, planned, share, data, None), flush=True)
        for line in [*taken, *known]:
            print(line, flush=True)
        print_places(sweep, mlflow_problem)
        notifier = Notifier(notify, sweep)
        with notifier.at_the_end(), sweep.exclusive(sweep.already_driven):
            conduct(sweep, spec, share, notifier, in_process, mlflow_problem)
    return sweep


def _create(
    sweep: SweepStore,
    spec: SweepSpec,
    data: DatasetCheck,
    share: Share,
    file: Path,
    prior: Mapping[Arm, Prior] | None = None,
) -> None:
    """Step 4: write all that a resume needs."""
    environment = Environment(
        id=uuid.uuid4().hex,
        started=time.time(),
        versions=spec_versions(spec),
        platform=platform.platform(),
        gpus_per_trial=share.gpus,
        concurrent=share.concurrent,
        seeds={
            "sampler": spec.sampler.seed,
            "trainer": spec.trainer.get("seed", 0),
            "split": spec.sample_config().dataset.split_seed,
        },
        data_fingerprint=data.fingerprint,
        split_fingerprint=data.split_fingerprint,
        images=data.purposes,
        weights=data.weights,
        classes=data.classes,
        groups=data.groups,
        file=str(file.absolute()),
        file_digest=file_digest(file),
        cautions=data.cautions,
    )
    Ledger.create(sweep.ledger, spec, data.published, prior=prior).close()
    sweep.save_environment(environment)
    sweep.save_spec(spec)  # last: with it, the sweep and all the rest of it exist for other commands
