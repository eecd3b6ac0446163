"""A network that can be cut."""

import os
import shutil
import subprocess
from typing import Self


class Namespace:
    """A network of its own, joined to this machine's by one cable; root alone makes one."""

    name, here, address = "mt-sweeps", "10.77.0.1", "10.77.0.2"
    _cable = "mt-sweeps-0"

    @staticmethod
    def is_possible() -> bool:
        if os.getuid() != 0 or shutil.which("ip") is None:
            return False
        made = subprocess.run(["ip", "netns", "add", "mt-sweeps-try"], capture_output=True)
        subprocess.run(["ip", "netns", "del", "mt-sweeps-try"], capture_output=True)
        return made.returncode == 0

    def __enter__(self) -> Self:
        there = f"{self._cable}-b"
        for command in (
            f"netns add {self.name}",
            f"link add {self._cable} type veth peer name {there} netns {self.name}",
            f"addr add {self.here}/24 dev {self._cable}",
            f"link set {self._cable} up",
            f"-n {self.name} addr add {self.address}/24 dev {there}",
            f"-n {self.name} link set {there} up",
            f"-n {self.name} link set lo up",
            f"-n {self.name} route add default via {self.here}",
        ):
            self._ip(command)
        return self

    def __exit__(self, *_: object) -> None:
        self._ip(f"link del {self._cable}")
        self._ip(f"netns del {self.name}")

    def cut(self) -> None:
        """Nothing goes through the cable."""
        self._ip(f"link set {self._cable} down")

    def mend(self) -> None:
        self._ip(f"link set {self._cable} up")

    def _ip(self, command: str) -> None:
        subprocess.run(["ip", *command.split()], check=True)
