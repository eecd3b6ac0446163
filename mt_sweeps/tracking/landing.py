"""What the plain address of the dashboard opens: the sweeps, where MLflow has a home page for agents.

The page that MLflow shows stands behind the # of an address, which no server gets to see. So a script in MLflow's HTML
opens the sweeps if the address names no page. All links name one, also those to MLflow's home page.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mt_sweeps.tracking.shared_view import run_page, sweeps_page, tag_of, view_page

if TYPE_CHECKING:
    from flask import Flask, Response

_HEAD = "<head>"
# MLflow keeps what somebody wants in the browser: whether the pages are those for training or those for agents, and
# whether its assistant, which it opens in each new browser, has been opened once. A choice that is there stays.
_SCRIPT = """<script>
const first = {"mlflow.workflowType_v1": '"machine_learning"', "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true"};
for (const key in first) if (localStorage.getItem(key) === null) localStorage.setItem(key, first[key]);
if (location.hash === "") location.replace("#/" + PAGE);
</script>"""


def install(app: "Flask", client: Any, experiment: str) -> None:
    """Have MLflow's server open the sweeps first.

    Args:
        app: MLflow's, which has not served anything yet.
        client: an `mlflow.MlflowClient` of the server's store.
        experiment: the name of the one that is opened.
    """
    from flask import make_response, request

    html = (Path(str(app.static_folder)) / "index.html").read_text(encoding="utf-8")

    @app.before_request
    def first_page() -> "Response | None":
        if request.path != "/" or request.method != "GET":
            return None
        response = make_response(with_landing(html, landing_page(client, experiment)))
        response.headers["Cache-Control"] = "no-store"  # the next sweep changes the page
        return response


def with_landing(html: str, page: str) -> str:
    """Return MLflow's HTML with a script that opens a page if the address names none.

    Args:
        html: of MLflow.
        page: as it stands behind `#/`.
    """
    text = json.dumps(page).replace("<", "\\u003c")
    return html.replace(_HEAD, _HEAD + _SCRIPT.replace("PAGE", text), 1)


def landing_page(client: Any, experiment: str) -> str:
    """Return the page of all sweeps of an experiment, or of its only sweep.

    Args:
        client: an `mlflow.MlflowClient`.
        experiment: its name; the experiment exists.
    """
    opened = client.get_experiment_by_name(experiment)
    sweeps = client.search_runs([opened.experiment_id], "tags.mt.arm = 'sweep'", max_results=2)
    if len(sweeps) != 1:
        return sweeps_page(opened.experiment_id)
    sweep = sweeps[0].data.tags["mt.sweep"]
    has_view = tag_of(sweep) in opened.tags
    return view_page(opened.experiment_id, sweep) if has_view else run_page(opened.experiment_id, sweeps[0].info.run_id)
