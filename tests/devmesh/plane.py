# SPDX-License-Identifier: Apache-2.0
"""devmesh as a Plane of the lab: the command runs inside a host, the HTTP view is reached over its Unix socket."""

from __future__ import annotations

import json
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import typing

from devmesh import bundle
from devmesh import config as configuration
from devmesh.ca import CertificateAuthority
from devmesh.tokens import AUDIENCE, TokenIssuer
from devmesh.view_client import request
from lab import facts, plane

if typing.TYPE_CHECKING:
    from lab.host import Host

TESTS = pathlib.Path(__file__).resolve().parents[1]
START_TIMEOUT = 20.0
STOP_TIMEOUT = 5.0
_LOG = pathlib.Path("devmesh.log")  # in the host's log folder


class PlaneError(RuntimeError):
    """devmesh didn't do what it has to; the text has its last words."""


def lab_config(grace: str = "2s", mtls: str = configuration.STRICT) -> dict[str, typing.Any]:
    """The small mesh of lab.facts as a configuration file's content."""
    return {
        "plane_name": facts.PLANE_NAME,
        "plane_port": facts.PLANE_PORT,
        "plane_address": facts.MESH_IP,
        "state_dir": "state",
        "mesh": {
            "trust_domain": facts.TRUST_DOMAIN,
            "cluster_id": facts.CLUSTER_ID,
            "mesh_id": facts.MESH_ID,
            "network": facts.NETWORK,
            "mtls": mtls,
        },
        "listen": {"grpc": [f"{facts.MESH_IP}:{facts.PLANE_PORT}", f"[{facts.MESH_IP6}]:{facts.PLANE_PORT}"]},
        "registration": {"grace": grace},
        "services": [
            {
                "host": facts.REVIEWS_HOST,
                "vip": facts.REVIEWS_VIP,
                "service_account": facts.REVIEWS_SA,
                "ports": [{"number": facts.REVIEWS_PORT}],
                "endpoints": [{"address": facts.MESH_IP, "port": facts.REVIEWS_MTLS_PORT}],
            },
            {"host": facts.VM_HOST, "group": facts.VM_GROUP, "ports": [{"number": facts.VM_PORT}]},
        ],
        "groups": [
            {
                "name": facts.VM_GROUP,
                "namespace": facts.NAMESPACE,
                "service_account": facts.VM_SA,
                "labels": {"app": facts.VM_GROUP},
                "ports": [{"number": facts.VM_PORT}],
                "probe": {"httpGet": {"path": facts.VM_HEALTH_PATH, "port": facts.VM_PORT}, "periodSeconds": 1},
            }
        ],
    }


class DevmeshPlane(plane.Plane):
    """`edit` may change the configuration before it is written; `faults()` makes the running one misbehave."""

    name = "devmesh"

    def __init__(
        self, *, grace: str = "2s", mtls: str = configuration.STRICT,
        edit: typing.Callable[[dict[str, typing.Any]], None] | None = None,
    ) -> None:  # fmt: skip
        self._data = lab_config(grace, mtls)
        if edit:
            edit(self._data)
        self._directory: pathlib.Path | None = None
        self._host: Host | None = None
        self._process: subprocess.Popen | None = None

    # -- life ----------------------------------------------------------------------------------------------------

    def start(self, host: Host) -> None:
        self._host = host
        self._write_config()
        command = [sys.executable, "-m", "devmesh", "--config", str(self.config_file), "serve"]
        environment = {"PYTHONPATH": str(TESTS), "GRPC_VERBOSITY": "ERROR"}
        self._process = host.popen(command, env=environment, log=_LOG)
        deadline = time.monotonic() + START_TIMEOUT
        while not self._answers():
            if self._process.poll() is not None:
                raise PlaneError(f"devmesh ended with {self._process.returncode}: {self._last_words()}")
            if time.monotonic() > deadline:
                self.stop()
                raise PlaneError(f"devmesh isn't ready within {START_TIMEOUT:g} s: {self._last_words()}")
            time.sleep(0.02)

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        # killed, as in a crash or a lost node: a polite end would mark its workloads as gone first
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait(STOP_TIMEOUT)
        self._view_socket.unlink(missing_ok=True)

    def close(self) -> None:
        self.stop()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
        self._directory = None

    # -- what Plane promises -------------------------------------------------------------------------------------

    def write_bundle(self, directory: pathlib.Path) -> None:
        bundle.write(self._config(), directory, facts.VM_GROUP)

    def authority(self) -> CertificateAuthority:
        config = self._config()
        return CertificateAuthority.of(config)

    def issue(self, service_account: str) -> plane.Identity:
        config = self._config()
        spiffe = config.spiffe(facts.NAMESPACE, service_account)
        leaf = self.authority().issue(config.certificates.default_ttl, spiffe_id=spiffe)
        return plane.Identity(leaf.key, leaf.chain, leaf.roots)

    def token(self, ttl: float = 600, service_account: str = facts.VM_SA, *, audience: str = AUDIENCE) -> str:
        """A bearer token that this plane's CA takes, unless it is for another audience."""
        return TokenIssuer(self._config().state_dir).issue(facts.NAMESPACE, service_account, ttl, audience=audience)

    def workloads(self) -> list[plane.Workload]:
        return [
            plane.Workload(r["name"], r["address"], r["service_account"], r["connected"], r["healthy"], r["labels"])
            for r in self.get("/workloads")
        ]

    def allow_callers(self, service_accounts: list[str] | None) -> None:
        self.change(lambda data: data["groups"][0].update(allow=service_accounts))

    # -- what only devmesh can -----------------------------------------------------------------------------------

    def change(self, edit: typing.Callable[[dict[str, typing.Any]], None]) -> None:
        """Edits the configuration; a running plane has it in force on return."""
        edit(self._data)
        self._write_config()
        if self._process is not None:
            self._ask("POST", "/reload")

    def faults(self, **changes: typing.Any) -> None:
        """See faults.Faults; `close_streams` and `drop_connections` act once."""
        self._ask("POST", "/faults", json.dumps(changes).encode())

    def reset_faults(self) -> None:
        self._ask("DELETE", "/faults")

    def debug(self) -> dict[str, typing.Any]:
        return self.get("/debug")

    def get(self, path: str) -> typing.Any:
        return self._ask("GET", path)

    @property
    def config_file(self) -> pathlib.Path:
        if self._directory is None:
            self._directory = pathlib.Path(tempfile.mkdtemp(prefix="devmesh-plane-"))
        return self._directory / "devmesh.yaml"

    # -- inside --------------------------------------------------------------------------------------------------

    @property
    def _view_socket(self) -> pathlib.Path:
        return self.config_file.parent / self._data["state_dir"] / "view.sock"

    def _write_config(self) -> None:
        configuration.save(self.config_file, self._data)

    def _config(self) -> configuration.Config:
        if not self.config_file.exists():
            self._write_config()
        return configuration.load(self.config_file)

    def _answers(self) -> bool:
        try:
            return request(self._view_socket, "GET", "/healthz")[0] == 200
        except OSError:
            return False

    def _ask(self, method: str, path: str, body: bytes = b"") -> typing.Any:
        try:
            status, answer = request(self._view_socket, method, path, body)
        except OSError as error:
            raise PlaneError(f"devmesh doesn't answer {method} {path}: {error}; {self._last_words()}") from error
        if status != 200:
            raise PlaneError(f"devmesh answers {status} to {method} {path}: {answer.decode().strip()}")
        return json.loads(answer)

    def _last_words(self) -> str:
        try:
            return (self._host.log_dir / _LOG).read_text()[-2000:].strip() if self._host else "it wasn't started"
        except OSError:
            return "it has no log"
