# SPDX-License-Identifier: Apache-2.0
"""The table of workloads that registered themselves, with their health; rows outlive a disconnect by the grace time."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import json
import pathlib
import time
import typing

import grpc

from devmesh.auth import Caller
from devmesh.coalesce import Coalesced
from devmesh.config import Config

_MAX_NAME = 253  # of a Kubernetes object


class Denied(Exception):
    def __init__(self, code: grpc.StatusCode, message: str):
        super().__init__(message)
        self.code = code


@dataclasses.dataclass(frozen=True)
class Node:
    """What the plane reads of an xDS node."""

    id: str
    namespace: str
    service_account: str
    addresses: tuple[str, ...]
    group: str | None
    network: str
    labels: dict[str, str]
    probe: bool
    generator: str = ""  # "grpc": a program without a proxy


@dataclasses.dataclass
class Row:
    name: str
    group: str
    namespace: str
    address: str
    network: str
    service_account: str
    labels: dict[str, str]
    probe: bool  # without a probe nobody waits for a health report
    healthy: bool | None = None
    health_message: str = ""
    connections: int = 0
    connected_at: str = ""
    disconnected_at: str = ""

    @property
    def serves(self) -> bool:
        return not self.probe or self.healthy is True

    def view(self) -> dict[str, typing.Any]:
        return {**dataclasses.asdict(self), "connected": self.connections > 0}


class Registry:
    """`changed` is called after each change. Rows are kept in `path` for the next start."""

    def __init__(self, config: typing.Callable[[], Config], changed: typing.Callable[[], None], path: pathlib.Path):
        self._config, self._changed, self._path = config, changed, path
        self._rows: dict[str, Row] = {}
        self._expiry: dict[str, asyncio.TimerHandle] = {}
        self.version = 0  # of what rows() returns
        self._wrote = 0.0  # seconds that it took
        self._writing = Coalesced(self._write, lambda: 10 * self._wrote)

    def rows(self) -> list[Row]:
        return sorted(self._rows.values(), key=lambda row: row.name)

    def load(self) -> None:
        """Rows of an earlier run: their workloads get `restart_grace` to come back."""
        if not self._path.exists():
            return
        for stored in json.loads(self._path.read_text()):
            row = Row(**{**stored, "connections": 0})
            self._rows[row.name] = row
            self._expire_later(row, self._config().registration.restart_grace)

    def register(self, node: Node, caller: Caller) -> tuple[Row, bool]:
        """The node's row, and whether it is new."""
        config = self._config()
        group = config.group(node.namespace, node.group or "")
        if group is None:
            raise Denied(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"auto-registration: no workload group {node.namespace}/{node.group}",
            )
        if (caller.namespace, caller.service_account) != (group.namespace, group.service_account):
            raise Denied(
                grpc.StatusCode.PERMISSION_DENIED,
                f"auto-registration: group {group.name} is of service account {group.namespace}/{group.service_account}, "
                f"not {caller.namespace}/{caller.service_account}",
            )
        name = f"{group.name}-{node.addresses[0].replace(':', '-')}"
        name = (f"{name}-{node.network}" if node.network else name)[-_MAX_NAME:]
        row, new = self._rows.get(name), name not in self._rows
        if row is None:
            row = self._rows[name] = Row(
                name, group.name, group.namespace, node.addresses[0], node.network, group.service_account, {}, node.probe
            )
        row.labels = {k: v for k, v in {**group.labels, **node.labels}.items() if k != "istio-locality"}
        row.probe = node.probe
        row.connections += 1
        row.connected_at, row.disconnected_at = _stamp(), ""
        if handle := self._expiry.pop(name, None):
            handle.cancel()
        self._notify()
        return row, new

    def unregister(self, row: Row) -> None:
        """One stream of the workload has ended."""
        row.connections -= 1
        if row.connections == 0:
            row.disconnected_at = _stamp()
            self._expire_later(row, self._config().registration.grace)
        self._notify()

    def report(self, row: Row, healthy: bool, message: str) -> None:
        row.healthy, row.health_message = healthy, message
        self._notify()

    def stop(self) -> None:
        for handle in self._expiry.values():
            handle.cancel()
        self._expiry.clear()
        self._writing.stop()

    def _expire_later(self, row: Row, after: float) -> None:
        loop = asyncio.get_running_loop()
        if handle := self._expiry.pop(row.name, None):
            handle.cancel()
        self._expiry[row.name] = loop.call_later(after, self._expire, row)

    def _expire(self, row: Row) -> None:
        self._expiry.pop(row.name, None)
        if row.connections == 0 and self._rows.get(row.name) is row:
            del self._rows[row.name]
            self._notify()

    def _notify(self) -> None:
        self.version += 1
        self._writing.ask()
        self._changed()

    def _write(self) -> None:
        began = time.monotonic()
        fresh = self._path.with_name(self._path.name + ".new")
        fresh.write_text(json.dumps([vars(row) for row in self.rows()]))
        fresh.replace(self._path)
        self._wrote = time.monotonic() - began


def parse_node(node) -> Node:
    """Of an envoy.config.core.v3.Node; Denied as istiod would refuse it."""
    bad = grpc.StatusCode.INVALID_ARGUMENT
    if not node.id:
        raise Denied(bad, "missing node information")
    parts = node.id.split("~")
    if len(parts) != 4 or parts[0] != "sidecar":
        raise Denied(bad, f"node id {node.id!r} isn't sidecar~IP~NAME~DOMAIN")
    metadata = dict(node.metadata.fields)

    def text(key: str) -> str:
        value = metadata.get(key)
        if value is None:
            return ""
        if value.WhichOneof("kind") != "string_value":
            raise Denied(bad, f"node metadata {key} isn't a string")
        return value.string_value

    def mapping(key: str) -> dict[str, typing.Any]:
        value = metadata.get(key)
        if value is None:
            return {}
        if value.WhichOneof("kind") != "struct_value":
            raise Denied(bad, f"node metadata {key} isn't an object")
        return dict(value.struct_value)

    addresses = tuple(a for a in text("INSTANCE_IPS").split(",") if a) or (parts[1],)
    labels = {k: v for k, v in mapping("LABELS").items() if isinstance(v, str)}
    return Node(
        id=node.id,
        namespace=text("NAMESPACE") or parts[2].rpartition(".")[2],
        service_account=text("SERVICE_ACCOUNT"),
        addresses=addresses,
        group=text("AUTO_REGISTER_GROUP") or None,
        network=text("NETWORK"),
        labels=labels,
        probe="readinessProbe" in mapping("PROXY_CONFIG"),
        generator=text("GENERATOR"),
    )


def check_identity(node: Node, caller: Caller) -> None:
    """The node's own words must not contradict who it proved to be."""
    if node.namespace != caller.namespace:
        raise Denied(grpc.StatusCode.PERMISSION_DENIED, f"node is of namespace {node.namespace}, its identity of {caller.namespace}")
    if node.service_account and node.service_account != caller.service_account:
        text = f"node is of service account {node.service_account}, its identity of {caller.service_account}"
        raise Denied(grpc.StatusCode.PERMISSION_DENIED, text)


def _stamp() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat()
