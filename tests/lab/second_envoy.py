# SPDX-License-Identifier: Apache-2.0
"""Another real Envoy of the VM beside the one that serves: same bootstrap, other generation, started by the test."""

from __future__ import annotations

import json
import typing

from lab import facts, poll, services
from lab.hawser import HawserHost

FILE = "/run/hawser/proxy/second.json"


class SecondEnvoy:
    """`api_type` GRPC is state of the world. It takes no port that the serving proxy has: no static listener."""

    def __init__(self, vm: HawserHost, generation: str, api_type: str = "DELTA_GRPC") -> None:
        self._host, self._socket = vm.host, f"/run/hawser/proxy/{generation}.admin.sock"
        serving = vm.status()["proxy"]["generation"]
        boot = json.loads(vm.host.run(["sh", "-c", f"cat /var/lib/hawser/proxy/boot/{serving}.json"]).stdout)
        boot["admin"]["address"]["pipe"]["path"] = self._socket
        boot["static_resources"]["listeners"] = []
        ads = boot["dynamic_resources"]["ads_config"]
        ads["api_type"] = api_type
        ads["grpc_services"][0]["initial_metadata"] = [{"key": "x-hawser-generation", "value": generation}]
        vm.host.write(FILE, json.dumps(boot), uid=facts.UID_PROXY, gid=facts.GID_PROXY)
        argv = [services.envoy_binary(), "-c", FILE, "--disable-hot-restart", "--concurrency", "1", "-l", "warning"]
        self._process = vm.host.popen(argv, log=f"{generation}.log", uid=facts.UID_PROXY, gid=facts.GID_PROXY)
        self.log = vm.host.log_dir / f"{generation}.log"

    def get(self, path: str) -> str:
        if self._process.poll() is not None:
            raise poll.Hopeless(f"Envoy ended with {self._process.returncode}: {self.log.read_text()[-1500:]}")
        argv = ["curl", "-sS", "--max-time", "3", "--unix-socket", self._socket, f"http://envoy{path}"]
        return self._host.run(argv, uid=facts.UID_PROXY, gid=facts.GID_PROXY).stdout

    def state(self) -> str:
        return json.loads(self.get("/server_info"))["state"]

    def live(self) -> bool:
        return self.state() == "LIVE" and not self.stat("cluster_manager.warming_clusters")

    def stat(self, name: str) -> int:
        found: list[dict[str, typing.Any]] = json.loads(self.get(f"/stats?format=json&filter=^{name}$"))["stats"]
        return found[0]["value"] if found else 0

    def clusters(self) -> set[str]:
        return {c["name"] for c in json.loads(self.get("/clusters?format=json")).get("cluster_statuses", [])}

    def close(self) -> None:
        self._host.stop(self._process)
        # Nobody else knows of them, and `hawser leave` is judged by what is left.
        self._host.run(["rm", "-f", self._socket, FILE])

    def __enter__(self) -> SecondEnvoy:
        return self

    def __exit__(self, *error: typing.Any) -> None:
        self.close()
