# SPDX-License-Identifier: Apache-2.0
"""Istio's own agent under the load of `./dev bench proxy`: it replaces its proxy only by being restarted."""

from __future__ import annotations

import pathlib
import statistics
import time
import typing

from bench.subjects import Stock, wait_ready
from interop import istiod
from lab import echo, facts, planes, poll, services
from lab.world import World

STOCK_IP, STOCK_IP6 = "10.77.0.21", "fd77::21"
STEADY = 2.0


def measure(logs: pathlib.Path, mix: echo.Mix, count: int) -> dict[str, float]:
    """The figures of proxy_table.ROWS, as far as the stock agent has them."""
    with World(planes.make_plane("istiod"), logs=logs) as world:
        for probe in world.ssh_probes:
            probe.stop()
        kube = typing.cast(istiod.IstiodPlane, world.plane).kube
        for service in (echo.HTTP, echo.GRPC, echo.TCP):
            kube.apply(_entry(service))
        host = world.lab.add_host("stock", STOCK_IP, STOCK_IP6)
        services.start_vm_app(host)
        echo.serve(world.mesh)
        stock = Stock(host, world.bundle, STOCK_IP)
        stock.intercept()
        stock.start()
        wait_ready(host)
        for service in (echo.HTTP, echo.GRPC, echo.TCP):
            host.add_name(service.vip, service.host)
        url = f"http://{echo.HTTP.host}/load"
        poll.until("the echo service answers", lambda: services.curl(host, url).body == "ok\n", 30)
        return _restarts(stock, mix, count)


def _restarts(stock: Stock, mix: echo.Mix, count: int) -> dict[str, float]:
    windows: list[echo.Window] = []
    active: list[float] = []
    with echo.Load(stock.host, mix) as load:
        time.sleep(STEADY)
        for _ in range(count):
            begin = time.monotonic()
            stock.restart()
            wait_ready(stock.host)
            active.append(1000 * (time.monotonic() - begin))
            time.sleep(STEADY)  # a client that was refused takes a moment
            windows.append((begin, time.monotonic()))
            time.sleep(STEADY)
        seen = load.finish()
    outage = [1000 * seen.longest_gap(*window) for window in windows]
    steady, during = (seen.quantile(0.99, [(b - STEADY, b) for b, _ in windows]), seen.quantile(0.99, windows))
    return {
        "hand_overs": count,
        "rate": seen.rate(),
        "requests": seen.requests(),
        "failed": seen.failed(),
        "refused_connects": sum(number for what, number in seen.why().items() if "connect: " in what),
        "early": len(seen.ends),
        "p99_steady": steady,
        "p99_hand_over": during,
        "p99_ratio": during / steady,
        "active": statistics.median(active),
        "outage": statistics.median(outage),
        "outage_max": max(outage),
    }


def _entry(service: echo.Service) -> dict[str, typing.Any]:
    port = {"number": service.port, "name": "echo", "protocol": service.protocol, "targetPort": service.server_port}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": service.host.split(".")[0], "namespace": facts.NAMESPACE},
        "spec": {
            "hosts": [service.host],
            "addresses": [service.vip],
            "location": "MESH_EXTERNAL",
            "resolution": "STATIC",
            "ports": [port],
            "endpoints": [{"address": facts.MESH_IP}],
        },
    }
