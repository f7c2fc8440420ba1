# SPDX-License-Identifier: Apache-2.0
"""Each kind of misbehaviour, as an ordinary gRPC client sees it; and good behaviour again afterwards."""

from __future__ import annotations

import base64
import json
import pathlib
import socket
import ssl
import time

import grpc
import pytest

from devmesh import view_client
from devmesh.fixtures import NAME, Mesh, node
from devmesh.front import split_address
from devmesh.snapshot import CDS, LDS
from devmesh.test_ads import REVIEWS, add_service, ask, ended, names
from devmesh.test_command import run
from lab import poll


def fault(mesh: Mesh, **changes) -> None:
    status, answer = ask(mesh, "POST", "/faults", json.dumps(changes).encode())
    assert status == 200, answer


def works(mesh: Mesh) -> None:
    with mesh.stream() as stream:
        stream.subscribe(CDS, node=node())
        assert REVIEWS in names(stream.receive_acked())


def opened(stream) -> None:
    stream.subscribe(CDS, node=node())
    assert REVIEWS in names(stream.receive_acked())


# -- streams -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["UNAUTHENTICATED", "RESOURCE_EXHAUSTED"])
def test_some_streams_are_refused_and_then_no_more(mesh: Mesh, code: str) -> None:
    fault(mesh, ads_code=code, ads_times=2)
    for _ in range(2):
        with mesh.stream() as stream:
            assert ended(stream)[0] is grpc.StatusCode[code]
    works(mesh)


def test_a_mute_plane_reads_and_never_answers(mesh: Mesh) -> None:
    fault(mesh, ads_mute=True)
    with mesh.stream() as stream:
        stream.subscribe(CDS, node=node())
        poll.until("the request was read", lambda: ask(mesh, "GET", "/debug")[1]["types"].get(CDS, {}).get("requests"))
    fault(mesh, ads_mute=False)
    works(mesh)


def test_nonces_may_be_the_same_or_none(mesh: Mesh) -> None:
    with mesh.stream() as stream:
        fault(mesh, nonces="same")
        stream.subscribe(CDS, node=node())
        first = stream.receive_acked()
        stream.subscribe(LDS)
        assert stream.receive_acked().nonce == first.nonce
        fault(mesh, nonces="blank")
        add_service(mesh)
        assert stream.receive().nonce == ""


def test_old_responses_come_again(mesh: Mesh) -> None:
    with mesh.stream() as stream:
        stream.subscribe(CDS, node=node())
        first = stream.receive_acked()
        add_service(mesh)
        assert stream.receive_acked().nonce != first.nonce
        fault(mesh, resend=1)
        assert stream.receive() == first


def test_any_bytes_are_sent_as_a_response(mesh: Mesh) -> None:
    with mesh.stream() as stream:
        opened(stream)
        fault(mesh, send=[{"type": "no.such/Type", "name": "x", "any": LDS, "bytes": 3_000_000}])
        strange = stream.receive()
        assert (strange.type_url, strange.resources[0].resource.type_url) == ("no.such/Type", LDS)
        assert len(strange.resources[0].resource.value) == 3_000_000
        fault(mesh, send={"raw": base64.b64encode(b"\xff\xff").decode()})
        assert ended(stream)[0] is grpc.StatusCode.INTERNAL  # the client can't decode it
    assert ask(mesh, "POST", "/faults", b'{"send": {"name": "no type"}}')[0] == 400


def test_each_stream_begins_with_what_was_asked_for(mesh: Mesh) -> None:
    fault(mesh, first={"type": "no.such/Type", "nonce": "n"})
    for _ in range(2):
        with mesh.stream() as stream:
            stream.subscribe(CDS, node=node())
            assert stream.receive().type_url == "no.such/Type"
            assert REVIEWS in names(stream.receive_acked())
    assert ask(mesh, "POST", "/faults", b'{"first": {"no": "type"}}')[0] == 400


def test_everything_goes_and_comes_back(mesh: Mesh) -> None:
    with mesh.stream() as stream:
        opened(stream)
        fault(mesh, vanish=True)
        assert REVIEWS in stream.receive_acked().removed_resources
        fault(mesh, vanish=False)
        assert REVIEWS in names(stream.receive_acked())


def test_good_and_bad_alternate(mesh: Mesh) -> None:
    with mesh.stream() as stream:
        stream.subscribe(LDS, node=node())
        stream.receive_acked()
        fault(mesh, alternate=0.05)
        assert names(stream.receive_acked()) == {"devmesh-bad"}
        assert list(stream.receive_acked().removed_resources) == ["devmesh-bad"]
        fault(mesh, alternate=0, bad_listener=False)


def test_an_acknowledged_response_may_still_be_rejected(mesh: Mesh) -> None:
    with mesh.stream() as stream:
        stream.subscribe(CDS, node=node())
        response = stream.receive_acked()
        stream.answer(response, "my other client doesn't take it")
        poll.until("told", lambda: ask(mesh, "GET", "/debug")[1]["types"][CDS]["nacks"] == 1)


# -- connections ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["before", "after", "middle", "twice"])
def test_a_polite_goaway_leaves_the_stream_alone(mesh: Mesh, at: str) -> None:
    fault(mesh, goaway=at)
    with mesh.stream() as stream:
        opened(stream)
        fault(mesh, goaway=None)
        add_service(mesh)
        assert stream.receive_acked().type_url == CDS


def test_a_goaway_that_denies_the_stream_ends_it(mesh: Mesh) -> None:
    with mesh.stream() as stream:
        opened(stream)
        fault(mesh, goaway_now={"last": 0, "code": 0})
        assert ended(stream)[0] is grpc.StatusCode.UNAVAILABLE
    works(mesh)


def test_a_goaway_may_be_the_last_word(mesh: Mesh) -> None:
    fault(mesh, goaway="after", goaway_close=True)
    with mesh.stream() as stream:
        opened(stream)
        assert ended(stream)[0] is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(("what", "code"), [("rst", "INTERNAL"), ("cut", "UNAVAILABLE"), ("garbage", "UNKNOWN")])
def test_half_a_response_and_then_the_end(mesh: Mesh, what: str, code: str) -> None:
    fault(mesh, frame=what)
    with mesh.stream() as stream:
        stream.subscribe(CDS, node=node())
        assert ended(stream)[0] is grpc.StatusCode[code]
    fault(mesh, frame=None)
    works(mesh)


def test_connections_grow_old(mesh: Mesh) -> None:
    fault(mesh, connection_age=0.2)
    with mesh.stream() as stream:
        opened(stream)
        begin = time.monotonic()
        assert ended(stream)[0] is grpc.StatusCode.UNAVAILABLE
        assert 0.5 < time.monotonic() - begin < 5


def test_a_slow_writer_and_a_slow_reader(mesh: Mesh) -> None:
    with mesh.stream() as stream:
        opened(stream)
        fault(mesh, write_rate=2000)
        begin = time.monotonic()
        fault(mesh, send={"type": "x/y", "name": "z", "bytes": 2000})
        assert stream.receive().type_url == "x/y"
        assert time.monotonic() - begin > 0.5
        fault(mesh, write_rate=0)


def test_a_window_of_one_byte_holds_requests_back(mesh: Mesh) -> None:
    fault(mesh, window=1, read_rate=2000)
    with mesh.stream() as stream:
        begin = time.monotonic()
        opened(stream)
        assert time.monotonic() - begin > 0.1
        fault(mesh, window=None, read_rate=0)
        add_service(mesh)
        assert stream.receive_acked().type_url == CDS


def test_a_deaf_plane_completes_connections_and_nothing_more(mesh: Mesh) -> None:
    fault(mesh, deaf=True)
    with socket.create_connection(split_address(mesh.address), 5) as client:
        client.sendall(b"hello")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
    fault(mesh, deaf=False)
    works(mesh)


def test_the_serving_certificate_is_swapped(mesh: Mesh) -> None:
    context = ssl.create_default_context(cadata=mesh.roots)

    def serial() -> str:
        with socket.create_connection(split_address(mesh.address), 5) as plain:
            with context.wrap_socket(plain, server_hostname=NAME) as tls:
                return tls.getpeercert()["serialNumber"]

    first = serial()
    fault(mesh, rotate_certificate=True)
    assert serial() != first
    fault(mesh, other_ca=True)
    with pytest.raises(ssl.SSLCertVerificationError):
        serial()
    fault(mesh, other_ca=False)
    serial()
    works(mesh)


# -- how it is asked for -------------------------------------------------------------------------------------------


def test_the_command_sets_and_clears_faults(mesh: Mesh) -> None:
    file: pathlib.Path = mesh.file
    told = run(file, "fault", "goaway=middle", "goaway_code=11", "ads_mute=true")
    assert told.returncode == 0, told.stderr
    now = json.loads(told.stdout)
    assert (now["goaway"], now["goaway_code"], now["ads_mute"]) == ("middle", 11, True)
    refused = run(file, "fault", "goaway=sideways")
    assert refused.returncode != 0 and "none of before, after, middle, twice" in refused.stderr
    assert json.loads(run(file, "fault", "--reset").stdout)["goaway"] is None
    assert view_client.request(mesh.mesh.config.view_socket, "GET", "/faults")[0] == 200
