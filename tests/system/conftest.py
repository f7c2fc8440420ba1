# SPDX-License-Identifier: Apache-2.0
"""Fixtures: `world` (a joined scene's beginnings) and `bare` (a machine alone), one for each module."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
import typing

import pytest

from lab import facts, fixtures, layout, planes
from lab.host import Host
from lab.network import Lab
from lab.plane import Plane
from system import scene
from system.machine import Machine

LOGS = layout.REPO / ".cache" / "system-logs"
pytest_runtest_setup = fixtures.skip_after_failure


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    report = yield
    module = item.getparent(pytest.Module)
    if report.failed and module is not None:
        module.stash[fixtures.FAILED] = True
        report.sections.append(("Journal, state and logs will be in", str(_logs_of(module))))
    return report


def _logs_of(module: pytest.Collector) -> pathlib.Path:
    return LOGS / pathlib.Path(module.nodeid).stem


@contextlib.contextmanager
def make_world(request: pytest.FixtureRequest, plane: Plane) -> typing.Iterator[scene.SystemWorld]:
    where = _logs_of(request.node)
    shutil.rmtree(where, ignore_errors=True)
    with scene.SystemWorld(plane, logs=where) as made:
        yield made
        if request.node.stash.get(fixtures.FAILED, False):
            made.keep_logs()


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest):
    """A booted machine with the package, devmesh outside of it, not joined."""
    with make_world(request, planes.make_plane("devmesh")) as made:
        yield made


class Bare(typing.NamedTuple):
    lab: Lab
    machine: Machine
    outside: Host


@pytest.fixture(scope="module")
def bare(request: pytest.FixtureRequest):
    """A booted machine without the package, and a host outside."""
    where = _logs_of(request.node)
    shutil.rmtree(where, ignore_errors=True)
    with Lab() as lab:
        outside = lab.add_host("outside", facts.OUTSIDE_IP, facts.OUTSIDE_IP6)
        machine = scene.add_machine(lab)
        scene.install_app(machine)
        yield Bare(lab, machine, outside)
        if request.node.stash.get(fixtures.FAILED, False):
            machine.keep_state()
            lab.keep_logs(where)
