"""MLflow's pages behind a password: a server for one user on this machine.

MLflow without accounts answers everybody who reaches it. On loopback that is every user of the machine, who could read
any file of the server's owner through the artifacts of a run.
"""

import os
import secrets
from http import HTTPStatus

from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from mt_sweeps.program import program
from mt_sweeps.tracking import landing

HOST = "127.0.0.1"
_PORT, _TOKEN, _EXPERIMENT = "MT_SWEEP_DASHBOARD_PORT", "MT_SWEEP_DASHBOARD_TOKEN", "MT_SWEEP_DASHBOARD_EXPERIMENT"


class Gate:
    """Lets in whoever has the token.

    A browser brings it once, in the link that was printed, and has it in a cookie from then on. A program sends it as
    `Authorization: Bearer TOKEN`, as MLflow's client does with MLFLOW_TRACKING_TOKEN.

    Args:
        app: what is behind the gate.
        token: the password.
        port: of the server, which the name of the cookie holds, since browsers share cookies between ports.
    """

    def __init__(self, app: ASGIApp, token: str, port: int) -> None:
        self._app = app
        self._token = token
        self._cookie = f"mt-sweeps-{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, log its sender in, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        request = HTTPConnection(scope)
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self._is_token(request.cookies.get(self._cookie, "")) or self._is_token(bearer):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)
        elif scope["path"] == "/" and self._is_token(request.query_params.get("token", "")):
            answer = RedirectResponse("/", HTTPStatus.SEE_OTHER)  # to the page after the #, which browsers keep
            answer.set_cookie(self._cookie, self._token, httponly=True, samesite="lax")
            await answer(scope, receive, send)
        else:
            refusal = f"open the link that `{program()} dashboard` printed: it logs you in\n"
            await PlainTextResponse(refusal, HTTPStatus.UNAUTHORIZED)(scope, receive, send)

    def _is_token(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self._token.encode())


def server_environment(store: str, artifacts: str, experiment: str, port: int, token: str) -> dict[str, str]:
    """Return the environment variables of a process that runs this module.

    Args:
        store: address of the database of MLflow.
        artifacts: address of the folder for the artifacts of new experiments.
        experiment: the name of the one that the plain address opens.
        port: that it is to listen on.
        token: the password.
    """
    from mlflow.server import constants

    return {
        constants.BACKEND_STORE_URI_ENV_VAR: store,
        constants.ARTIFACT_ROOT_ENV_VAR: artifacts,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PYTHONWARNINGS": "ignore",
        _EXPERIMENT: experiment,
        _PORT: str(port),
        _TOKEN: token,  # in the environment, since a list of processes shows arguments to everybody
    }


def main() -> None:
    """Serve MLflow until interrupted."""
    import uvicorn

    port, token, experiment = int(os.environ.pop(_PORT)), os.environ.pop(_TOKEN), os.environ.pop(_EXPERIMENT)
    from mlflow import MlflowClient
    from mlflow.server import app as pages
    from mlflow.server import constants
    from mlflow.server.fastapi_app import app  # reads the environment

    landing.install(pages, MlflowClient(os.environ[constants.BACKEND_STORE_URI_ENV_VAR]), experiment)
    uvicorn.run(Gate(app, token, port), host=HOST, port=port, log_level="warning")


if __name__ == "__main__":
    main()
