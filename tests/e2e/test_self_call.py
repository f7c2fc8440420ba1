# SPDX-License-Identifier: Apache-2.0
"""The proxy's calls at its own host: in again where they're a service's, and never in circles."""

from __future__ import annotations

import pytest

from devmesh import config
from devmesh.plane import DevmeshPlane
from lab import facts, fixtures, poll, services, steps

pytestmark = pytest.mark.incremental
PORT = 4012  # no service's: the inbound listener passes it on to where it was going
SETTINGS = "/etc/hawser/conf.d/60-test.yaml"


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest):
    with fixtures.world(request, DevmeshPlane(mtls=config.PERMISSIVE)) as made:
        services.start_banner_server(made.host, PORT)
        yield made


def write_settings(world, *more: str) -> None:
    world.host.write(SETTINGS, f"interception: {{{', '.join(('inbound: {ports: all}', *more))}}}\n")
    world.vm.cli("intercept", "apply")


def test_joins(world):
    steps.join(world)


def test_without_it_a_host_cannot_call_its_own_service(world):
    """Its mTLS reaches the program, which can't speak it: why 'hawser join' turns it on."""
    write_settings(world, "self_call: false")
    poll.until("the service has its endpoint", lambda: steps.call_self(world).status == 503, timeout=10)
    write_settings(world)
    steps.self_call(world)


@pytest.mark.parametrize("address, source", [(facts.VM_IP, "127.0.0.6"), (facts.VM_IP6, "::6")])
def test_what_is_passed_on_to_this_host_does_not_meet_the_proxy_again(world, address, source):
    _, seen = services.banner(world.outside, address, PORT)
    assert seen.startswith(f"lab-ssh {source} "), seen
