"""Which server gets the credentials that are in the environment: the one that the environment names, and no other."""

import os
from pathlib import Path

from mt_sweeps.addresses import is_local, server_of
from mt_sweeps.errors import InputError
from mt_sweeps.spec.sections import Tracking
from mt_sweeps.storage.folder import HOME_VARIABLE

ADDRESS = "MLFLOW_TRACKING_URI"  # the server that the credentials are for
_WEB = ("USERNAME", "PASSWORD", "TOKEN", "AUTH", "AWS_SIGV4", "CLIENT_CERT_PATH")
_CREDENTIALS = {"postgresql": ("PGPASSWORD", "PGPASSFILE"), "mysql": ("MYSQL_PWD",)}
_WEB_CREDENTIALS = tuple(f"MLFLOW_TRACKING_{name}" for name in _WEB)
_FILE = Path("~/.mlflow/credentials")  # MLflow reads it for every server


def check_credentials(tracking: Tracking) -> None:
    """Make sure that no credentials go to a server that a file names and the environment does not.

    A search-space file or a best file may come from anybody, and MLflow sends what it finds in the environment to
    whatever address it is given.

    Raises:
        InputError: there are credentials, and MLFLOW_TRACKING_URI does not name the server of `tracking.uri`.
    """
    uri = tracking.uri
    if uri is None or is_local(uri) or uri == "databricks":
        return
    server = server_of(uri)
    kind = server[0] if server else ""
    variables = _CREDENTIALS.get(kind, _WEB_CREDENTIALS)
    sent = [name for name in variables if os.environ.get(name)]
    if variables is _WEB_CREDENTIALS and _FILE.expanduser().exists():
        sent.append(str(_FILE))
    # A home in the same database was named with the same password.
    named = [ADDRESS, *([HOME_VARIABLE] if kind == "postgresql" else [])]
    if not sent or (server and any(server_of(os.environ.get(name, "")) == server for name in named)):
        return
    raise InputError(
        f"tracking.uri: {uri} would get {' and '.join(sent)}, and {ADDRESS} does not say that they are for this "
        f"server; if they are, set {ADDRESS}={uri} in the environment; if not, take them out of it, or use --set "
        "tracking.uri=null"
    )
