# SPDX-License-Identifier: Apache-2.0
"""All of devmesh in one event loop (Devmesh), and the same in a thread for tests (BackgroundDevmesh)."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import fcntl
import logging
import pathlib
import shutil
import tempfile
import threading
import typing

import grpc

from devmesh import config as configuration
from devmesh.ads import AdsService
from devmesh.auth import Caller, caller_of_metadata
from devmesh.ca import CertificateAuthority
from devmesh.csr import CertificateService
from devmesh.faults import Faults
from devmesh.front import TlsFront, split_address
from devmesh.registry import Registry
from devmesh.tokens import Refused, TokenIssuer
from devmesh.view import HttpView

log = logging.getLogger("devmesh")
_WATCH_PERIOD = 0.3  # seconds between looks at the configuration file
_MAX_RUN_PATH = 90  # sun_path has 108 bytes, with a file name in it
_UNCHANGEABLE = ("plane_name", "plane_port", "state_dir", "listen", "max_connection_age", "max_connection_grace")


class Devmesh:
    """All methods belong to the loop that runs start(); what is stored stays for the next start."""

    def __init__(self, config_file: pathlib.Path):
        self._file = pathlib.Path(config_file)
        self.config = configuration.load(self._file)
        self.faults = Faults()
        state = self.config.state_dir
        self.authority = CertificateAuthority.of(self.config)
        self.tokens = TokenIssuer(state)
        self.ads = AdsService(self)
        self.csr = CertificateService(self)
        self.registry = Registry(lambda: self.config, self.ads.push_soon, state / "workloads.json")
        self.view = HttpView(self)
        self._lock = _lock(state)
        self._run_dir = _make_run_dir(state)
        self.front = TlsFront(
            CertificateAuthority.of(self.config, signer=self.config.certificates.serving), self.config.mesh.trust_domain, self.config.plane_name, self.faults, self._run_dir
        )
        self._grpc: grpc.aio.Server | None = None
        self._watcher: asyncio.Task | None = None
        self._alternating: asyncio.Task | None = None

    @property
    def addresses(self) -> list[str]:
        """Where ADS and CSR are served, once started."""
        return self.front.addresses

    async def start(self) -> None:
        self.registry.load()
        options = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ("grpc.http2.max_ping_strikes", 0),
        ]
        if self.config.max_connection_age:
            options.append(("grpc.max_connection_age_ms", int(self.config.max_connection_age * 1000)))
        if self.config.max_connection_grace:
            options.append(("grpc.max_connection_age_grace_ms", int(self.config.max_connection_grace * 1000)))
        self._grpc = grpc.aio.server(options=options)
        self._grpc.add_generic_rpc_handlers((*self.csr.handlers(), self.ads.handler()))
        self._grpc.add_insecure_port(f"unix:{self.front.grpc_socket}")
        await self._grpc.start()
        await self.front.start(self.config.listen.grpc)
        tcp = split_address(self.config.listen.http) if self.config.listen.http else None
        await self.view.start(self.config.view_socket, tcp)
        self._watcher = asyncio.create_task(self._watch())
        log.info("serving %s on %s", self.config.plane_name, ", ".join(self.addresses))

    async def stop(self) -> None:
        for task in (self._watcher, self._alternating):
            if task:
                task.cancel()
        await self.view.stop()
        await self.front.stop()
        if self._grpc:
            await self._grpc.stop(grace=None)
        self.registry.stop()
        shutil.rmtree(self._run_dir, ignore_errors=True)
        self._lock.close()

    async def authenticate(self, context: grpc.aio.ServicerContext) -> Caller:
        """The caller, or the RPC ends with UNAUTHENTICATED."""
        try:
            return self.front.caller_of(context.peer()) or caller_of_metadata(context.invocation_metadata(), self.tokens)
        except KeyError:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "connection is gone")
        except Refused as error:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, f"request authenticate failure: {error}")
        raise AssertionError("abort() returned")

    def reload(self) -> bool:
        """Reads the file again and pushes; ConfigError leaves all as it was. Addresses stay until the next start."""
        fresh = configuration.load(self._file)
        fresh = dataclasses.replace(fresh, **{key: getattr(self.config, key) for key in _UNCHANGEABLE})
        changed = fresh != self.config
        self.config = fresh
        if changed:
            own = fresh.certificates
            self.authority.use(own.signer, own.roots)
            self.front.serve_by(CertificateAuthority.of(fresh, signer=own.serving))
            self.ads.push()
        return changed

    def set_faults(self, **changes: typing.Any) -> None:
        self.faults.update(changes)
        self._faults_changed()

    def reset_faults(self) -> None:
        self.faults.reset()
        self._faults_changed()

    def fault_view(self) -> dict[str, typing.Any]:
        return dataclasses.asdict(self.faults)

    def workloads(self) -> list[dict[str, typing.Any]]:
        return [row.view() for row in self.registry.rows()]

    def debug(self) -> dict[str, typing.Any]:
        return {**self.ads.view(), "csr": {**self.csr.counts, "last": self.csr.last}, "addresses": self.addresses}

    def _faults_changed(self) -> None:
        self.front.apply_faults()
        if self._alternating:
            self._alternating.cancel()
        self._alternating = asyncio.create_task(self._alternate()) if self.faults.alternate else None
        self.ads.push()

    async def _alternate(self) -> None:
        while True:
            await asyncio.sleep(self.faults.alternate)
            self.faults.bad_listener = not self.faults.bad_listener
            self.ads.push()

    async def _watch(self) -> None:
        seen = self._stamp()
        while True:
            await asyncio.sleep(_WATCH_PERIOD)
            if (stamp := self._stamp()) == seen:
                continue
            seen = stamp
            try:
                self.reload()
            except (configuration.ConfigError, OSError) as error:
                log.error("configuration kept as it was: %s", error)

    def _stamp(self) -> tuple[int, int] | None:
        try:
            stat = self._file.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_ino


def _lock(state: pathlib.Path) -> typing.IO[bytes]:
    """Held until closed: two planes on one state folder would take each other's sockets and tables."""
    file = open(state / "lock", "wb")  # noqa: SIM115
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise configuration.ConfigError(f"{state}: another devmesh uses this state folder") from error
    return file


def _make_run_dir(state: pathlib.Path) -> pathlib.Path:
    """For sockets; in the state folder, so that the next start removes what a killed one left."""
    path = state / "run"
    if len(str(path.absolute())) > _MAX_RUN_PATH:
        return pathlib.Path(tempfile.mkdtemp(prefix="devmesh-"))
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o700)
    return path.absolute()


class BackgroundDevmesh:
    """`with BackgroundDevmesh(file) as mesh: mesh.call(lambda m: m.workloads())`"""

    def __init__(self, config_file: pathlib.Path, *, timeout: float = 15):
        self._file, self._timeout = config_file, timeout
        self.mesh: Devmesh | None = None

    def __enter__(self) -> typing.Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="devmesh", daemon=True)
        self._thread.start()
        try:
            self._wait(self._start())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exc) -> None:
        try:
            if self.mesh:
                self._wait(self.mesh.stop())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(self._timeout)
            self._loop.close()

    def call(self, function: typing.Callable[[Devmesh], typing.Any]) -> typing.Any:
        """Runs in the mesh's own loop, so that tests never race with it."""

        async def run() -> typing.Any:
            assert self.mesh
            return function(self.mesh)

        return self._wait(run())

    def faults(self, **changes: typing.Any) -> None:
        self.call(lambda mesh: mesh.set_faults(**changes))

    @property
    def address(self) -> str:
        assert self.mesh
        return self.mesh.addresses[0]

    async def _start(self) -> None:
        self.mesh = Devmesh(self._file)
        await self.mesh.start()

    def _wait(self, coroutine: typing.Coroutine) -> typing.Any:
        future: concurrent.futures.Future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        return future.result(self._timeout)
