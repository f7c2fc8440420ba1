# SPDX-License-Identifier: Apache-2.0
"""A gRPC service `greeter`, and a program that finds it by xDS itself, without a proxy."""

from __future__ import annotations

import json
import subprocess
import typing

from lab import facts, layout, poll
from lab.host import Host

HOST, PORT = "greeter.demo.svc.cluster.local", 7070
TARGET = f"xds:///{HOST}:{PORT}"
PYTHON = layout.in_host(layout.REPO / ".venv" / "bin" / "python")  # the one that has grpcio
PROGRAM = layout.in_host(layout.REPO / "tests" / "lab" / "programs" / "greeter.py")


def service(*ports: int) -> dict[str, typing.Any]:
    """As devmesh's configuration lists it: its servers listen on these ports of the mesh host."""
    endpoints = [{"address": facts.MESH_IP, "port": port} for port in ports]
    one = {"number": PORT, "name": "grpc", "protocol": "TCP"}
    return {"host": HOST, "mtls": False, "ports": [one], "endpoints": endpoints}


def start(mesh: Host, port: int, folder: str | None = None) -> subprocess.Popen:
    """By mTLS with the identity in `folder`, laid out as workload-spiffe-credentials."""
    argv = [PYTHON, PROGRAM, "serve", f"{facts.MESH_IP}:{port}", f"greeter on {port}", *([folder] if folder else [])]
    process = mesh.popen(argv, log=f"greeter-{port}.log", uid=facts.UID_APP, gid=facts.GID_APP)
    poll.until(f"greeter listens on {port}", lambda: mesh.tcp(facts.MESH_IP, port), timeout=20)
    return process


class Program:
    """The client, running in a host as `uid`."""

    def __init__(self, vm: Host, bootstrap: str, uid: int = facts.UID_APP, target: str = TARGET) -> None:
        self._host = vm
        self._process = vm.popen(
            [PYTHON, PROGRAM, "call", target],
            env={"GRPC_XDS_BOOTSTRAP": bootstrap},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            log="grpc-program.log",
            text=True,
            uid=uid,
            gid=uid,
            no_new_privs=True,
        )

    def ask(self) -> dict[str, str]:
        """{"said"}, or {"error", "details"}; each call is bounded by 5 s in the program."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def says(self, what: str) -> bool:
        answer = self.ask()
        assert answer.get("said") == what, answer
        return True

    def close(self) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        self._host.stop(self._process)

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *error: typing.Any) -> None:
        self.close()
