# SPDX-License-Identifier: Apache-2.0
"""What tests need of a control plane with its CA; devmesh and a real istiod both offer it."""

from __future__ import annotations

import abc
import dataclasses
import pathlib
import typing

if typing.TYPE_CHECKING:
    from lab.host import Host


@dataclasses.dataclass(frozen=True)
class Workload:
    """A row of the plane's workload table (a WorkloadEntry where there is Kubernetes)."""

    name: str
    address: str
    service_account: str
    connected: bool  # a stream is open now
    healthy: bool | None  # None: no report yet
    labels: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Identity:
    """An SVID as PEM text, for the test's own proxies."""

    key: str
    chain: str
    roots: str


class Plane(abc.ABC):
    """Runs inside `host`'s namespaces on facts.MESH_IP:facts.PLANE_PORT. Every wait is bounded and raises with a reason."""

    name: str

    @abc.abstractmethod
    def start(self, host: Host) -> None:
        """Returns when ready. After stop() it starts again with the state it had."""

    @abc.abstractmethod
    def stop(self) -> None:
        """The control plane and CA end, as in an outage; what is stored stays."""

    @abc.abstractmethod
    def close(self) -> None:
        """Ends everything it started and removes its files; may be called twice."""

    @abc.abstractmethod
    def write_bundle(self, directory: pathlib.Path) -> None:
        """The five files of `istioctl x workload entry configure --autoregister` for facts.VM_GROUP."""

    @abc.abstractmethod
    def issue(self, service_account: str) -> Identity:
        """A certificate for another workload of facts.NAMESPACE, from the plane's own CA service."""

    @abc.abstractmethod
    def workloads(self) -> list[Workload]:
        """The auto-registered workloads that it knows now."""

    @abc.abstractmethod
    def allow_callers(self, service_accounts: list[str] | None) -> None:
        """Who may call the VM's service (an ALLOW list by principal); None: any mesh identity."""
