# SPDX-License-Identifier: Apache-2.0
"""A workload's agent as the tests play it: its node, and ads_client.py in a host."""

from __future__ import annotations

import json
import pathlib
import queue
import subprocess
import sys
import threading
import time
import typing

from interop.istiod import IstiodPlane
from lab import facts
from lab.host import Host


def node(**changes: typing.Any) -> dict:
    """A VM's node, as the bundle describes it."""
    metadata = {
        "INSTANCE_IPS": facts.VM_IP,
        "NAMESPACE": facts.NAMESPACE,
        "SERVICE_ACCOUNT": facts.VM_SA,
        "WORKLOAD_NAME": facts.VM_GROUP,
        "CLUSTER_ID": facts.CLUSTER_ID,
        "NETWORK": facts.NETWORK,
        "MESH_ID": facts.MESH_ID,
        "ISTIO_VERSION": "1.31.0",
        "INTERCEPTION_MODE": "REDIRECT",
        "AUTO_REGISTER_GROUP": facts.VM_GROUP,
        "LABELS": {"app": facts.VM_GROUP},
        "PROXY_CONFIG": {
            "readinessProbe": {"httpGet": {"path": facts.VM_HEALTH_PATH, "port": facts.VM_PORT}, "periodSeconds": 1}
        },
        **changes,
    }
    domain = f"{facts.NAMESPACE}.svc.cluster.local"
    return {"id": f"sidecar~{facts.VM_IP}~vm.{facts.NAMESPACE}~{domain}", "metadata": metadata}


class Agent:
    """ads_client.py in the host, as the VM's agent would be."""

    def __init__(self, host: Host, istiod: IstiodPlane, **changes: typing.Any) -> None:
        order = {
            "address": f"{facts.MESH_IP}:{facts.PLANE_PORT}",
            "name": facts.PLANE_NAME,
            "root": istiod.root(),
            "token": istiod.token(facts.VM_SA),
            "node": node(),
            **changes,
        }
        script = pathlib.Path(__file__).with_name("ads_client.py")
        self._host = host
        self._process = host.popen(
            [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._said: queue.SimpleQueue = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()
        self._write(order)

    def _listen(self) -> None:
        for line in self._process.stdout:
            self._said.put(json.loads(line))

    def _write(self, order: dict) -> None:
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def ask(self, type_url: str, **more: typing.Any) -> None:
        self._write({"type": type_url, **more})

    def answer(self, key: str, value: str | None = None, timeout: float = 20) -> dict:
        """The next fact that has `key` (with `value`); others before it are dropped."""
        deadline = time.monotonic() + timeout
        while True:
            fact = self._said.get(timeout=max(0.001, deadline - time.monotonic()))
            if key in fact and value in (None, fact[key]):
                return fact

    def close(self) -> None:
        self._process.stdin.close()
        self._host.stop(self._process)

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
