# SPDX-License-Identifier: Apache-2.0
"""Fixtures: the programs are built once, a control plane runs for a whole test module."""

from __future__ import annotations

import pathlib
import subprocess
import typing

import pytest

from interop.istiod import IstiodPlane
from lab import facts, fixtures
from lab.host import Host
from lab.network import Lab

pytest_runtest_makereport = fixtures.remember_outcome
pytest_runtest_setup = fixtures.skip_after_failure


@pytest.fixture(scope="session")
def programs() -> None:
    """istiod, kube-apiserver and etcd. A cold build takes minutes, so it's a step before the tests and none of them."""
    script = pathlib.Path(__file__).with_name("build.sh")
    done = subprocess.run(["bash", str(script), "--check"], capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        pytest.fail(done.stderr.strip() or done.stdout.strip(), pytrace=False)


@pytest.fixture(scope="module")
def mesh_lab(programs: None) -> typing.Iterator[Lab]:
    with Lab() as lab:
        yield lab


@pytest.fixture(scope="module")
def mesh_host(mesh_lab: Lab) -> Host:
    return mesh_lab.add_host("mesh", facts.MESH_IP, facts.MESH_IP6)


@pytest.fixture(scope="module")
def istiod(mesh_host: Host) -> typing.Iterator[IstiodPlane]:
    plane = IstiodPlane()
    try:
        plane.start(mesh_host)
        yield plane
    finally:
        plane.close()
