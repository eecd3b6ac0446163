"""A network that can be cut."""

import os
import shutil
import subprocess
from typing import Self


class Namespace:
    """A network namespace that one virtual cable joins to this machine's network. Only root can create one."""

    name, gateway, address = "mt-sweeps", "10.77.0.1", "10.77.0.2"
    _cable = "mt-sweeps-0"

    @staticmethod
    def is_possible() -> bool:
        if os.getuid() != 0 or shutil.which("ip") is None:
            return False
        created = subprocess.run(["ip", "netns", "add", "mt-sweeps-try"], capture_output=True)
        subprocess.run(["ip", "netns", "del", "mt-sweeps-try"], capture_output=True)
        return created.returncode == 0

    def __enter__(self) -> Self:
        far_end = f"{self._cable}-b"
        for command in (
            f"netns add {self.name}",
            f"link add {self._cable} type veth peer name {far_end} netns {self.name}",
            f"addr add {self.gateway}/24 dev {self._cable}",
            f"link set {self._cable} up",
            f"-n {self.name} addr add {self.address}/24 dev {far_end}",
            f"-n {self.name} link set {far_end} up",
            f"-n {self.name} link set lo up",
            f"-n {self.name} route add default via {self.gateway}",
        ):
            self._ip(command)
        return self

    def __exit__(self, *_: object) -> None:
        self._ip(f"link del {self._cable}")
        self._ip(f"netns del {self.name}")

    def cut(self) -> None:
        """Stop all traffic."""
        self._ip(f"link set {self._cable} down")

    def mend(self) -> None:
        """Let traffic through again."""
        self._ip(f"link set {self._cable} up")

    def _ip(self, command: str) -> None:
        subprocess.run(["ip", *command.split()], check=True)
