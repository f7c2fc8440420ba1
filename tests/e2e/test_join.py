# SPDX-License-Identifier: Apache-2.0
"""The demo's steps as tests. They are one story: each needs those before it, so the rest is skipped after a failure."""

from __future__ import annotations

import json
import subprocess

import pytest

from lab import facts, services, steps

pytestmark = pytest.mark.incremental


def test_joins_from_the_bundle(world):
    steps.join(world)


def test_an_ordinary_client_reaches_reviews(world):
    steps.outbound(world)


def test_reviews_calls_the_vm_and_others_are_refused(world):
    steps.inbound(world)


def test_the_vm_is_called_over_ipv6(world):
    answer = services.curl(world.mesh, world.reviews.url(world.reviews.POOLED6, "/v6"))
    assert answer.status == 200, answer
    assert services.caller_id(answer) == facts.spiffe(facts.REVIEWS_SA)


def test_the_vm_calls_its_own_service_as_everybody_else_does(world):
    steps.self_call(world)


def test_an_outbound_ipv6_connection_is_captured(world):
    # A plain TCP program outside the mesh tells the source port that it sees: with the proxy in between, not ours.
    port = 4006
    server = services.start_banner_server(world.outside, port)
    try:
        for address in (facts.OUTSIDE_IP6, facts.OUTSIDE_IP):
            ours, seen = services.banner(world.host, address, port)
            assert seen.startswith("lab-ssh"), f"{address}: no greeting, but {seen!r}"
            assert ours != seen, f"the connection to [{address}]:{port} wasn't captured"
    finally:
        world.outside.stop(server)


def test_the_certificate_is_rotated_under_load(world):
    steps.renewal(world)


def test_the_chain_and_the_roots_are_told_as_other_programs_tell_them(world):
    pem = (world.bundle / "root-cert.pem").read_text()
    tool = ["openssl", "x509", "-noout", "-fingerprint", "-sha256"]
    told = subprocess.run(tool, input=pem, capture_output=True, text=True, check=True).stdout
    sha256 = told.strip().partition("=")[2].replace(":", "").lower()
    roots = json.loads(world.vm.cli("trust", "show", "--json").stdout)["roots"]
    assert [root["sha256"] for root in roots] == [sha256]
    assert sha256 in world.vm.cli("trust", "show").stdout
    leaf = json.loads(world.vm.cli("cert", "show", "--json").stdout)["chain"][0]
    assert leaf["serial"] == world.vm.cert()["serial"] and leaf["key"] == "EC prime256v1"


def test_the_control_plane_may_go_away(world):
    steps.outage(world)


def test_ssh_is_never_captured(world):
    steps.ssh(world)


def test_leaves_without_a_trace(world):
    steps.leave(world)
