# SPDX-License-Identifier: Apache-2.0
"""The one YAML file: mesh, services, workload groups, listen addresses. Wrong files raise ConfigError."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import typing

import yaml

STRICT, PERMISSIVE = "STRICT", "PERMISSIVE"
HTTP, HTTP2, TCP = "HTTP", "HTTP2", "TCP"  # HTTP2 is what Istio also calls GRPC
ROOT_NAMESPACE = "istio-system"


class ConfigError(ValueError):
    """One line that says where and what."""


@dataclasses.dataclass(frozen=True)
class Port:
    number: int
    name: str = "http"
    protocol: str = HTTP


@dataclasses.dataclass(frozen=True)
class Endpoint:
    address: str
    port: int


@dataclasses.dataclass(frozen=True)
class Service:
    """`endpoints` are fixed; those of `group` come from the workload table."""

    host: str
    vip: str | None = None
    ports: tuple[Port, ...] = (Port(80),)
    mtls: bool = True
    service_account: str | None = None
    group: str | None = None
    endpoints: tuple[Endpoint, ...] = ()

    @property
    def namespace(self) -> str:
        return self.host.split(".")[1]


@dataclasses.dataclass(frozen=True)
class Group:
    """A WorkloadGroup: what a host that registers itself becomes. `allow`: caller accounts; None is anyone of the mesh."""

    name: str
    namespace: str
    service_account: str
    labels: dict[str, str] = dataclasses.field(default_factory=dict)
    ports: tuple[Port, ...] = ()
    mtls: str | None = None
    allow: tuple[str, ...] | None = None
    probe: dict[str, typing.Any] | None = None
    network: str | None = None


@dataclasses.dataclass(frozen=True)
class Mesh:
    trust_domain: str = "cluster.local"
    cluster_id: str = "Kubernetes"
    mesh_id: str = "mesh1"
    network: str = ""
    mtls: str = STRICT
    istio_extensions: bool = False  # what only Istio's build of Envoy understands is sent, as by a default istiod


@dataclasses.dataclass(frozen=True)
class Listen:
    """`grpc`: TLS for ADS and CSR. `http`: the view on TCP; it's always on the Unix socket `view.sock` of the state folder."""

    grpc: tuple[str, ...] = ("127.0.0.1:15012",)
    http: str | None = None


@dataclasses.dataclass(frozen=True)
class Certificates:
    default_ttl: float = 24 * 3600
    max_ttl: float = 90 * 24 * 3600
    token_ttl: float = 3600
    intermediate: bool = False  # leaves are signed by an intermediate, which makes one more entry in the answer
    # Roots, by number; one is made when it is first named. A rotation is [0] → [0, 1], then signer and serving 1, then [1].
    roots: tuple[int, ...] = (0,)  # that the CA tells to trust
    signer: int = 0  # of workloads' certificates
    serving: int = 0  # signer of the plane's own certificate
    distributed: tuple[int, ...] = ()  # by istio.mesh.v1alpha1.ProxyConfig


@dataclasses.dataclass(frozen=True)
class Registration:
    grace: float = 10
    restart_grace: float = 60  # for rows that were stored when the plane ended


@dataclasses.dataclass(frozen=True)
class Config:
    plane_name: str = "istiod.istio-system.svc"
    plane_port: int = 15012
    plane_address: str = "127.0.0.1"  # what the bundle's `hosts` says
    state_dir: pathlib.Path = pathlib.Path("state")
    max_connection_age: float | None = None  # seconds until a GOAWAY
    max_connection_grace: float | None = None  # … and until what is still open is cut; None: never
    mesh: Mesh = Mesh()
    listen: Listen = Listen()
    certificates: Certificates = Certificates()
    registration: Registration = Registration()
    services: tuple[Service, ...] = ()
    groups: tuple[Group, ...] = ()

    def group(self, namespace: str, name: str) -> Group | None:
        return next((g for g in self.groups if (g.namespace, g.name) == (namespace, name)), None)

    def mtls_of(self, group: Group) -> str:
        return group.mtls or self.mesh.mtls

    def spiffe(self, namespace: str, service_account: str) -> str:
        return f"spiffe://{self.mesh.trust_domain}/ns/{namespace}/sa/{service_account}"

    @property
    def view_socket(self) -> pathlib.Path:
        return self.state_dir / "view.sock"


def load(path: pathlib.Path) -> Config:
    path = pathlib.Path(path)
    try:
        data = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())}") from error
    config = parse(data, where=str(path))
    return dataclasses.replace(config, state_dir=path.parent / config.state_dir)


def save(path: pathlib.Path, config_data: dict[str, typing.Any]) -> None:
    """Replaces the file in one step, so that a watching server never reads half of it."""
    path = pathlib.Path(path)
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(yaml.safe_dump(config_data, sort_keys=False))
    fresh.replace(path)


def parse(data: dict[str, typing.Any], where: str = "configuration") -> Config:
    config = _build(Config, data, where)
    for mode in [config.mesh.mtls, *(g.mtls for g in config.groups if g.mtls)]:
        if mode not in (STRICT, PERMISSIVE):
            raise ConfigError(f"{where}: mtls is {mode!r}, neither {STRICT} nor {PERMISSIVE}")
    names = {g.name for g in config.groups}
    for service in config.services:
        if service.host.count(".") < 2:
            raise ConfigError(f"{where}: service {service.host!r} isn't NAME.NAMESPACE.svc…")
        if service.group and service.group not in names:
            raise ConfigError(f"{where}: service {service.host} names the unknown group {service.group!r}")
    return config


_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(value: str | float) -> float:
    """90, "90s", "24h", "-1m"."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    match = re.fullmatch(r"(-?\d+(?:\.\d+)?)(ms|s|m|h|d)", str(value))
    if not match:
        raise ConfigError(f"{value!r} isn't a duration such as 90s or 24h")
    return float(match[1]) * _UNITS[match[2]]


_NESTED = {"mesh": Mesh, "listen": Listen, "certificates": Certificates, "registration": Registration}
_LISTS = {("Config", "services"): Service, ("Config", "groups"): Group, ("Service", "endpoints"): Endpoint,
          ("Service", "ports"): Port, ("Group", "ports"): Port}  # fmt: skip
_DURATIONS = {"default_ttl", "max_ttl", "token_ttl", "grace", "restart_grace", "max_connection_age",
              "max_connection_grace"}  # fmt: skip


def _build(kind: type, data: typing.Any, where: str) -> typing.Any:
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: a mapping belongs here, not {type(data).__name__}")
    known = {f.name for f in dataclasses.fields(kind)}
    if unknown := sorted(set(data) - known):
        raise ConfigError(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(sorted(known))}")
    try:
        return kind(**{key: _value(kind, key, value, f"{where}: {key}") for key, value in data.items()})
    except TypeError as error:
        raise ConfigError(f"{where}: {error}") from error


def _value(kind: type, key: str, value: typing.Any, where: str) -> typing.Any:
    if value is None:
        return None
    if kind is Config and key in _NESTED:
        return _build(_NESTED[key], value, where)
    if item := _LISTS.get((kind.__name__, key)):
        if not isinstance(value, list):
            raise ConfigError(f"{where}: a list belongs here")
        return tuple(_build(item, entry, f"{where}[{i}]") for i, entry in enumerate(value))
    if key in _DURATIONS:
        try:
            return seconds(value)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from error
    if key == "state_dir":
        return pathlib.Path(value)
    return tuple(value) if isinstance(value, list) else value
