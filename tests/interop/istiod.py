# SPDX-License-Identifier: Apache-2.0
"""Stock istiod with a real API server and etcd, as a Plane of the lab. `interop/build.sh` makes the three programs."""

from __future__ import annotations

import base64
import contextlib
import datetime
import http.client
import json
import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import typing

from interop import bundle, kube, manifests, pki
from lab import facts, plane

if typing.TYPE_CHECKING:
    from lab.host import Host

REPO = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent

ETCD_PORT, ETCD_PEER_PORT, API_PORT = 2379, 2380, 6443  # all but PLANE_PORT on the host's loopback
HTTP_PORT, WEBHOOK_PORT, MONITORING_PORT = 15080, 15017, 15014
ISSUER = "https://kubernetes.default.svc"
AUDIENCE = "istio-ca"
ROOT_CONFIG_MAP = "istio-ca-root-cert"  # istiod writes the mesh's root into every namespace under this name
FILES = "/run/interop"  # in the host's own tmpfs: keys and data are gone with the host, however it ends
START_TIMEOUT = 60.0
VERSIONS = ("1.31", "1.30")
VERSIONED = {  # version -> (program, its kinds), as interop/build.sh names them
    "1.31": ("pilot-discovery", "crd-all.gen.yaml"),
    "1.30": ("pilot-discovery-1.30", "crd-all-1.30.gen.yaml"),
}
WITHOUT_ISTIOS_FILTERS = {"PILOT_ENABLE_ALPN_FILTER": "false", "PILOT_ENABLE_METADATA_EXCHANGE": "false"}
GROUP_ANNOTATION = "istio.io/autoRegistrationGroup"


class PlaneError(RuntimeError):
    """The plane didn't do what it has to; the text has the program's last words."""


def cache_dir() -> pathlib.Path:
    """Where interop/build.sh puts what it builds."""
    return pathlib.Path(os.environ.get("HAWSER_CACHE") or REPO / ".cache") / "interop"


class IstiodPlane(plane.Plane):
    """etcd and the API server run from the first start() to close(); stop() ends istiod, which is the control plane and CA.

    `istiod_env` adds to istiod's environment: its features are switched by variables. `for_upstream_envoy`: it is told not
    to send what only Istio's own build of Envoy has; else it is as Istio's installation makes it.
    `version` is one of VERSIONS. `connection_age`, such as "1m", is when istiod asks its clients to reconnect.
    """

    name = "istiod"

    def __init__(
        self,
        istiod_env: dict[str, str] | None = None,
        *,
        version: str = VERSIONS[0],
        for_upstream_envoy: bool = True,
        connection_age: str | None = None,
    ) -> None:
        self._pilot, self._crds = VERSIONED[version]
        self._for_upstream_envoy = for_upstream_envoy
        self._connection_age = connection_age
        self.start_seconds: dict[str, float] = {}  # what each part of the last start() took
        self._istiod_env = istiod_env or {}
        self._programs = cache_dir() / "bin"
        self._host: Host | None = None
        self._processes: dict[str, subprocess.Popen] = {}
        self._kube: kube.Kube | None = None
        self._istiod_since: datetime.datetime | None = None

    # -- life ----------------------------------------------------------------------------------------------------

    def start(self, host: Host) -> None:
        for program in ("etcd", "kube-apiserver", self._pilot):
            if not os.access(self._programs / program, os.X_OK):
                raise PlaneError(f"{program} isn't built: run tests/interop/build.sh")
        self._host = host
        self.start_seconds = {}
        try:
            if self._kube is None:
                self._start_cluster()
            self._start_istiod()
        except BaseException:
            self.close()
            raise

    def stop(self) -> None:
        # Killed, as in a crash or a lost node: a polite end would let istiod mark its workloads as gone first.
        self._end("istiod", signal.SIGKILL)

    def stop_api_server(self) -> None:
        """Killed; istiod and etcd go on."""
        self._end("kube-apiserver", signal.SIGKILL)

    def start_api_server(self) -> None:
        self._run("kube-apiserver", self._api_server())
        self._wait("kube-apiserver", self.kube.ready, "answered /readyz")

    def close(self) -> None:
        for program in ("istiod", "kube-apiserver", "etcd"):
            self._end(program, signal.SIGKILL)
        if self._host is not None:
            with contextlib.suppress(RuntimeError):  # the host is closed already, and its files with it
                self._host.call(shutil.rmtree, FILES, ignore_errors=True)
        self._host = self._kube = None

    @property
    def kube(self) -> kube.Kube:
        """The cluster's API, for tests that change more than Plane offers."""
        if self._kube is None:
            raise PlaneError("the cluster isn't running")
        return self._kube

    # -- what Plane promises -------------------------------------------------------------------------------------

    def write_bundle(self, directory: pathlib.Path) -> None:
        group = self.kube.get("WorkloadGroup", facts.VM_GROUP, facts.NAMESPACE)
        mesh = self.kube.get("ConfigMap", "istio", manifests.ISTIO_NAMESPACE)
        if group is None or mesh is None:
            raise PlaneError("the WorkloadGroup or the ConfigMap istio is missing in the cluster")
        bundle.write(
            directory,
            group=group,
            mesh=bundle.parse_mesh(mesh["data"]["mesh"]),
            cluster=facts.CLUSTER_ID,
            root=self.root(),
            token=self.token(group["spec"]["template"]["serviceAccount"]),
            hosts=f"{facts.MESH_IP} {facts.PLANE_NAME}\n",
        )

    def issue(self, service_account: str) -> plane.Identity:
        self.kube.apply(manifests.service_account(service_account))
        key = pki.new_key()
        answer = self.create_certificate(pki.csr_pem(key), self.token(service_account))
        if "chain" not in answer:
            raise PlaneError(f"istiod issued nothing to {service_account}: {answer['code']}: {answer['message']}")
        *chain, roots = answer["chain"]
        if (got := pki.spiffe_id(chain[0])) != facts.spiffe(service_account):
            raise PlaneError(f"istiod certified {got} and not {service_account}")
        return plane.Identity(pki.key_pem(key), "".join(chain), roots)

    def workloads(self) -> list[plane.Workload]:
        items = self.kube.list("WorkloadEntry", facts.NAMESPACE)
        since = self._istiod_since if self._running("istiod") else None
        return [_workload(i, since) for i in items if GROUP_ANNOTATION in _annotations(i)]

    def allow_callers(self, service_accounts: list[str] | None) -> None:
        if service_accounts is None:
            self.kube.delete("AuthorizationPolicy", manifests.CALLERS_POLICY, facts.NAMESPACE)
        else:
            self.kube.apply(manifests.callers(service_accounts))

    # -- more, for tests of the plane ----------------------------------------------------------------------------

    def token(self, service_account: str, audience: str = AUDIENCE) -> str:
        return self.kube.token(facts.NAMESPACE, service_account, audience)

    def replace_authority(self, authority: pki.Pair, roots: str) -> None:
        """istiod is started anew with this signing CA, and sends these roots."""
        self.stop()
        for name, text in {
            "ca-cert.pem": authority.certificate_pem,
            "ca-key.pem": authority.key_pem,
            "root-cert.pem": roots,
            "cert-chain.pem": authority.certificate_pem,
        }.items():
            self._host.write(f"{FILES}/cacerts/{name}", text, mode=0o600)
        self._start_istiod()

    def trust_besides(self, root_pem: str | None) -> None:
        """Another root for all of the mesh (MeshConfig.caCertificates); None: no longer."""
        config = manifests.config_map(metrics=not self._for_upstream_envoy, also_trusted=root_pem)
        self.kube.apply(config)

    def kubeconfig(self) -> str:
        """For programs of another host."""
        found = json.loads(self._host.read(f"{FILES}/kubeconfig.json"))
        cluster = found["clusters"][0]["cluster"]
        cluster["server"] = f"https://{facts.MESH_IP}:{API_PORT}"
        root = self._host.read(cluster.pop("certificate-authority"))
        cluster["certificate-authority-data"] = base64.b64encode(root.encode()).decode()
        return json.dumps(found)

    def root(self) -> str:
        """The mesh's root certificates, from where istioctl takes them."""
        found = self.kube.get("ConfigMap", ROOT_CONFIG_MAP, facts.NAMESPACE)
        if found is None:
            raise PlaneError(f"ConfigMap {ROOT_CONFIG_MAP} is missing in namespace {facts.NAMESPACE}")
        return found["data"]["root-cert.pem"]

    def create_certificate(self, csr: str, token: str | None, seconds: int = 0) -> dict:
        """The CA's answer, or its refusal, as csr_client.py prints it."""
        order = {
            "address": f"{facts.MESH_IP}:{facts.PLANE_PORT}",
            "name": facts.PLANE_NAME,
            "cluster": facts.CLUSTER_ID,
            "root": self.root(),
            "csr": csr,
            "token": token,
            "seconds": seconds,
        }
        done = self._host.run([sys.executable, str(HERE / "csr_client.py")], input=json.dumps(order), timeout=30)
        return json.loads(done.stdout)

    def memory_kib(self) -> dict[str, int]:
        """Resident memory of each program that runs now."""
        return {name: _rss_kib(p.pid) for name, p in self._processes.items() if p.poll() is None}

    # -- the cluster ---------------------------------------------------------------------------------------------

    def _start_cluster(self) -> None:
        began = time.monotonic()
        token = secrets.token_urlsafe(24)
        root = self._write_cluster_files(token)
        self._run("etcd", self._etcd())
        self._run("kube-apiserver", self._api_server())
        self._kube = kube.Kube(lambda: self._connect(API_PORT), root, token)
        self._wait("kube-apiserver", self._kube.ready, "answered /readyz")
        self.start_seconds["kube-apiserver"] = time.monotonic() - began

        crds = (cache_dir() / self._crds).read_text(encoding="utf-8")
        self._kube.install_crds(crds)
        for thing in manifests.before_istiod(metrics=not self._for_upstream_envoy):
            self._kube.apply(thing)
        count = crds.count("\nkind: CustomResourceDefinition")
        self._wait("kube-apiserver", lambda: self._kube.crds_established(count), "established Istio's kinds")
        for thing in manifests.mesh():
            self._wait("kube-apiserver", lambda thing=thing: self._served(thing), f"took the {thing['kind']}")
        self.start_seconds["objects"] = time.monotonic() - began - self.start_seconds["kube-apiserver"]

    def _served(self, thing: dict) -> bool:
        """An established kind is served a moment later."""
        try:
            self._kube.apply(thing)
        except kube.ApiError as error:
            if error.status == 404:
                return False
            raise
        return True

    def _write_cluster_files(self, token: str) -> str:
        """Returns the API server's root."""
        root = pki.authority("api server's root")
        serving = pki.server(root, "kube-apiserver", ["kubernetes.default.svc", "localhost"], ["127.0.0.1", facts.MESH_IP])
        accounts = pki.new_key()  # signs service accounts' tokens
        self.authority = mesh = pki.authority("Istio's root")
        kubeconfig = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "lab",
                    "cluster": {
                        "server": f"https://127.0.0.1:{API_PORT}",
                        "certificate-authority": f"{FILES}/api-root.pem",
                    },
                }
            ],
            "users": [{"name": "admin", "user": {"token": token}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "admin"}}],
            "current-context": "lab",
        }
        texts = {
            "api-root.pem": root.certificate_pem,
            "api-cert.pem": serving.certificate_pem,
            "api-key.pem": serving.key_pem,
            "accounts-key.pem": pki.key_pem(accounts),
            "accounts-public.pem": pki.public_pem(accounts),
            "tokens.csv": f"{token},admin,admin,system:masters\n",
            "kubeconfig.json": json.dumps(kubeconfig),
            "cacerts/ca-cert.pem": mesh.certificate_pem,
            "cacerts/ca-key.pem": mesh.key_pem,
            "cacerts/root-cert.pem": mesh.certificate_pem,
            "cacerts/cert-chain.pem": mesh.certificate_pem,
        }
        for name, text in texts.items():
            self._host.write(f"{FILES}/{name}", text, mode=0o600)
        return root.certificate_pem

    def _etcd(self) -> list[str]:
        client, peer = f"http://127.0.0.1:{ETCD_PORT}", f"http://127.0.0.1:{ETCD_PEER_PORT}"
        return [
            str(self._programs / "etcd"),
            f"--data-dir={FILES}/etcd",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",  # its data needn't outlive the test
            "--log-level=warn",
        ]

    def _api_server(self) -> list[str]:
        return [
            str(self._programs / "kube-apiserver"),
            f"--etcd-servers=http://127.0.0.1:{ETCD_PORT}",
            "--bind-address=0.0.0.0",  # of the host `mesh`: the VM asks for tokens
            f"--advertise-address={facts.MESH_IP}",
            f"--secure-port={API_PORT}",
            f"--tls-cert-file={FILES}/api-cert.pem",
            f"--tls-private-key-file={FILES}/api-key.pem",
            f"--token-auth-file={FILES}/tokens.csv",
            "--authorization-mode=AlwaysAllow",
            "--anonymous-auth=false",
            f"--service-account-issuer={ISSUER}",
            f"--service-account-key-file={FILES}/accounts-public.pem",
            f"--service-account-signing-key-file={FILES}/accounts-key.pem",
            "--service-cluster-ip-range=10.96.0.0/24",
            "--endpoint-reconciler-type=none",
            "--disable-admission-plugins=ServiceAccount,LimitRanger,ResourceQuota",
            "--enable-priority-and-fairness=false",
            "--profiling=false",
        ]

    # -- istiod --------------------------------------------------------------------------------------------------

    def _start_istiod(self) -> None:
        if self._running("istiod"):
            return
        began = time.monotonic()
        loopback = "127.0.0.1"
        argv = [
            str(self._programs / self._pilot),
            "discovery",
            f"--kubeconfig={FILES}/kubeconfig.json",
            f"--secureGRPCAddr={facts.MESH_IP}:{facts.PLANE_PORT}",
            "--grpcAddr=",  # no plaintext port
            f"--httpAddr={loopback}:{HTTP_PORT}",
            f"--httpsAddr={loopback}:{WEBHOOK_PORT}",
            f"--monitoringAddr={loopback}:{MONITORING_PORT}",
            f"--domain={facts.TRUST_DOMAIN}",
            "--shutdownDuration=1s",
            *([f"--keepaliveMaxServerConnectionAge={self._connection_age}"] if self._connection_age else []),
        ]
        environment = {
            "POD_NAME": "istiod-0",
            "POD_NAMESPACE": manifests.ISTIO_NAMESPACE,
            "CLUSTER_ID": facts.CLUSTER_ID,
            "ROOT_CA_DIR": f"{FILES}/cacerts",
            "ISTIOD_CUSTOM_HOST": facts.PLANE_NAME,
            "INJECT_ENABLED": "false",
            "VALIDATION_WEBHOOK_CONFIG_NAME": "",
            "INJECTION_WEBHOOK_CONFIG_NAME": "",
            "ENABLE_LEADER_ELECTION": "false",
            "PILOT_ENABLE_GATEWAY_API": "false",
            **(WITHOUT_ISTIOS_FILTERS if self._for_upstream_envoy else {}),
            **self._istiod_env,
        }
        self._istiod_since = datetime.datetime.now(datetime.timezone.utc)
        self._run("istiod", argv, environment)
        self._wait("istiod", self._istiod_ready, "became ready")
        self._wait("istiod", self._root_published, "published its root certificate")
        self.start_seconds["istiod"] = time.monotonic() - began

    def _istiod_ready(self) -> bool:
        connection = http.client.HTTPConnection("istiod", timeout=2)
        try:
            connection.sock = self._connect(HTTP_PORT)
            connection.request("GET", "/ready")
            return connection.getresponse().status == 200 and self._host.tcp(facts.MESH_IP, facts.PLANE_PORT)
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _root_published(self) -> bool:
        return self.kube.get("ConfigMap", ROOT_CONFIG_MAP, facts.NAMESPACE) is not None

    # -- processes -----------------------------------------------------------------------------------------------

    def _run(self, name: str, argv: list[str], environment: dict[str, str] | None = None) -> None:
        self._processes[name] = self._host.popen(argv, env=environment, log=self._log(name), cwd=FILES)

    def _running(self, name: str) -> bool:
        return name in self._processes and self._processes[name].poll() is None

    def _end(self, name: str, sig: int) -> None:
        process = self._processes.pop(name, None)
        if process is not None:
            self._host.stop(process, sig)

    def _connect(self, port: int) -> socket.socket:
        return self._host.call(socket.create_connection, ("127.0.0.1", port), kube.CONNECT_TIMEOUT)

    def _log(self, name: str) -> pathlib.Path:
        return self._host.log_dir / f"{name}.log"

    def _wait(self, program: str, reached: typing.Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while not reached():
            status = self._processes[program].poll()
            if status is not None:
                raise PlaneError(f"{program} ended with {status} before it {what}: {self._last_words(program)}")
            if time.monotonic() > deadline:
                raise PlaneError(f"{program} hasn't {what} in {START_TIMEOUT:g} s: {self._last_words(program)}")
            time.sleep(0.05)

    def _last_words(self, program: str) -> str:
        lines = self._log(program).read_text(errors="replace").strip().splitlines()
        return " / ".join(lines[-3:])


def _annotations(entry: dict) -> dict[str, str]:
    return entry["metadata"].get("annotations", {})


def _workload(entry: dict, istiod_since: datetime.datetime | None) -> plane.Workload:
    """istiod takes the mark away when a stream ends; when istiod itself was killed, the mark is older than its start."""
    spec, mark = entry["spec"], _annotations(entry).get("istio.io/connectedAt")
    health = kube.condition(entry, "Healthy")
    return plane.Workload(
        name=entry["metadata"]["name"],
        address=spec["address"],
        service_account=spec.get("serviceAccount", ""),
        connected=bool(mark and istiod_since and datetime.datetime.fromisoformat(mark) >= istiod_since),
        healthy=None if health is None else health == "True",
        labels=spec.get("labels", {}),
    )


def _rss_kib(pid: int) -> int:
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0
