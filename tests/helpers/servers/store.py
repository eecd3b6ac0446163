"""SeaweedFS, an object store."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import boto3

from tests.helpers import compose
from tests.helpers.servers.common import LOOPBACK, free_port, wait_for


class ObjectStore:
    """SeaweedFS on loopback, as docker-compose.yml starts it. It can be killed and started again.

    Attributes:
        environment: the variables that its clients need.
        location: of the files of trials, as `open_files` takes it.
    """

    bucket = "sweeps"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        secrets = compose.with_secrets()
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://{LOOPBACK}:{self.port}",
            "AWS_ACCESS_KEY_ID": secrets["STORE_ACCESS_KEY"],
            "AWS_SECRET_ACCESS_KEY": secrets["STORE_SECRET_KEY"],
            "AWS_REGION": "us-east-1",
        }
        self.grpc_port = free_port()
        self.credentials_file = folder / "credentials.json"

    def __enter__(self) -> Self:
        file = compose.loaded(compose.with_secrets())
        credentials = self.credentials_file
        credentials.write_text(file["configs"]["credentials"]["content"])
        (self._folder / "data").mkdir()
        service = file["services"]["store"]
        ports = {"-s3.port": self.port, "-s3.port.grpc": self.grpc_port}
        for part in ("master", "volume", "filer"):
            ports |= {f"-{part}.port": free_port(), f"-{part}.port.grpc": free_port()}
        options = {"-dir": self._folder / "data", "-s3.ip.bind": LOOPBACK, "-s3.config": credentials, **ports}
        words = [word for word in service["command"].split() if word.partition("=")[0] not in options]
        weed = str(Path(sys.executable).parent / "weed")
        self._command = [weed, *words, *(f"{option}={value}" for option, value in options.items())]
        self._environment = service["environment"]
        self.start()
        (buckets,) = file["services"]["buckets"]["command"][2:]
        program = [sys.executable, "-c", buckets]
        subprocess.run(program, env={**os.environ, **self.environment}, check=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start the server, and return when it answers."""
        log = (self._folder / "store.log").open("a")
        environment = {**os.environ, **self._environment}
        self._process = subprocess.Popen(self._command, env=environment, stdout=log, stderr=log)
        wait_for(f"http://{LOOPBACK}:{self.port}/healthz", self._process, Path(log.name))

    def kill(self) -> None:
        """Kill the server at once."""
        self._process.kill()
        self._process.wait()

    @property
    def location(self) -> str:
        return f"s3://{self.bucket}/trials"

    def client(self) -> Any:
        """Return a client that does not use the tested code."""
        return boto3.client(
            "s3",
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            region_name=self.environment["AWS_REGION"],
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
        )
