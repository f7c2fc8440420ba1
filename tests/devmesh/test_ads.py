# SPDX-License-Identifier: Apache-2.0
"""ADS streams: subscriptions, pushes, registration with health and grace, faults, the HTTP view."""

from __future__ import annotations

import json
import pathlib
import time
import typing

import grpc
import pytest
from envoy.config.endpoint.v3 import endpoint_pb2

from devmesh import view_client
from devmesh.config import ConfigError
from devmesh.fixtures import Mesh, node
from devmesh.snapshot import CDS, EDS, LDS, RDS
from lab import poll

REVIEWS = "outbound|80||reviews.demo.svc.cluster.local"
VM = "outbound|8080||vm-app.demo.svc.cluster.local"


def names(response) -> set[str]:
    return {resource.name for resource in response.resources}


def ended(stream) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as error:
        while True:
            stream.receive()
    return error.value.code(), error.value.details()


def endpoints(response, name: str) -> list[str]:
    for resource in response.resources:
        if resource.name == name:
            assignment = endpoint_pb2.ClusterLoadAssignment()
            resource.resource.Unpack(assignment)
            return [
                e.endpoint.address.socket_address.address for group in assignment.endpoints for e in group.lb_endpoints
            ]
    raise AssertionError(f"{name} isn't in the response")


def add_service(mesh: Mesh, host: str = "details.demo.svc.cluster.local") -> str:
    mesh.data["services"].append({"host": host, "endpoints": [{"address": "10.0.0.9", "port": 80}]})
    mesh.reload()
    return f"outbound|80||{host}"


def ask(mesh: Mesh, method: str, path: str, body: bytes = b"") -> tuple[int, typing.Any]:
    status, answer = view_client.request(mesh.mesh.config.view_socket, method, path, body)
    return status, json.loads(answer)


# -- delta ---------------------------------------------------------------------------------------------------------


def test_an_empty_first_subscription_is_a_wildcard(mesh: Mesh) -> None:
    with mesh.stream() as stream:
        stream.subscribe(CDS, node=node())
        response = stream.receive_acked()
        assert {REVIEWS, VM, "inbound|8080||", "PassthroughCluster"} <= names(response)
        assert all(r.version for r in response.resources) and response.nonce and response.system_version_info


def test_named_types_give_what_is_named_and_tell_what_is_missing(mesh: Mesh) -> None:
    with mesh.stream() as stream:
        stream.subscribe(EDS, REVIEWS, "outbound|1||nobody", node=node())
        response = stream.receive_acked()
        assert names(response) == {REVIEWS} and list(response.removed_resources) == ["outbound|1||nobody"]
        stream.subscribe(RDS, "80")
        assert names(stream.receive_acked()) == {"80"}


def test_a_name_subscribed_again_is_told_again(mesh: Mesh) -> None:
    with mesh.stream() as stream:
        stream.subscribe(EDS, REVIEWS, node=node())
        first = stream.receive_acked()
        stream.subscribe(EDS, REVIEWS)
        second = stream.receive_acked()
        assert names(second) == {REVIEWS} and second.nonce != first.nonce


def test_changes_are_pushed_in_order_and_alone(mesh: Mesh) -> None:
    with mesh.stream() as stream:
        stream.subscribe(CDS, node=node())
        for type_url in (LDS,):
            stream.receive_acked()
            stream.subscribe(type_url)
        stream.receive_acked()
        stream.subscribe(RDS, "80")
        stream.receive_acked()
        fresh = add_service(mesh)
        clusters = stream.receive_acked()
        assert clusters.type_url == CDS and names(clusters) == {fresh}
        routes = stream.receive_acked()
        assert routes.type_url == RDS and names(routes) == {"80"}
        mesh.data["services"].pop()
        mesh.reload()
        clusters = stream.receive_acked()
        assert list(clusters.removed_resources) == [fresh] and not clusters.resources


def test_endpoints_follow_a_change_of_their_cluster(mesh: Mesh) -> None:
    with mesh.stream() as stream:
        stream.subscribe(CDS, node=node())
        stream.receive_acked()
        stream.subscribe(EDS, REVIEWS, VM)
        stream.receive_acked()
        mesh.data["services"][0]["service_account"] = "reviews-v2"  # another SAN: only the cluster changes
        mesh.reload()
        assert names(stream.receive_acked()) == {REVIEWS}
        again = stream.receive_acked()
        assert again.type_url == EDS and names(again) == {REVIEWS}


def test_a_reconnect_gets_only_what_differs(mesh: Mesh) -> None:
    with mesh.stream() as stream:
        stream.subscribe(CDS, node=node())
        versions = {r.name: r.version for r in stream.receive_acked().resources}
        stream.subscribe(EDS, REVIEWS)
        endpoint_versions = {r.name: r.version for r in stream.receive_acked().resources}
    gone = versions | {"outbound|80||gone.demo.svc.cluster.local": "1"} | {VM: "old"}
    with mesh.stream() as stream:
        stream.subscribe(CDS, node=node(), versions=gone)
        response = stream.receive_acked()
        assert names(response) == {VM} and list(response.removed_resources) == ["outbound|80||gone.demo.svc.cluster.local"]
        stream.subscribe(EDS, versions=endpoint_versions | {VM: "x"}, *[REVIEWS])
        assert names(stream.receive_acked()) == {REVIEWS, VM}  # endpoints are sent again after a reconnect
    with mesh.stream() as stream:
        stream.subscribe(CDS, node=node(), versions=versions)
        stream.subscribe(LDS)
        assert stream.receive_acked().type_url == LDS  # nothing of CDS differed


def test_what_is_unsubscribed_is_not_pushed(mesh: Mesh) -> None:
    with mesh.stream() as stream:
        stream.subscribe(EDS, REVIEWS, VM, node=node())
        stream.receive_acked()
        stream.subscribe(EDS, unsubscribe=(REVIEWS,))
        poll.until("unsubscribed", lambda: ask(mesh, "GET", "/debug")[1]["streams"][0]["types"][EDS]["names"] == [VM])
        mesh.data["services"][0]["endpoints"] = [{"address": "10.0.0.1", "port": 1}]
        mesh.reload()
        stream.report_health()
        assert names(stream.receive_acked()) == {VM}


def test_answers_are_counted_and_a_nack_is_not_answered(mesh: Mesh) -> None:
    with mesh.stream() as stream:
        stream.subscribe(CDS, node=node())
        response = stream.receive()
        stream.answer(response, nack="no such thing")
        stream.subscribe(LDS)
        assert stream.receive_acked().type_url == LDS
        poll.until("counted", lambda: _counts(mesh, LDS)["acks"] == 1)
        assert _counts(mesh, CDS) == {"requests": 2, "responses": 1, "acks": 0, "nacks": 1, "last_nack": "no such thing"}


def _counts(mesh: Mesh, type_url: str) -> dict[str, typing.Any]:
    return ask(mesh, "GET", "/debug")[1]["types"][type_url]


def test_versions_can_be_blank(mesh: Mesh) -> None:
    mesh.faults(blank_versions=True)
    with mesh.stream() as stream:
        stream.subscribe(CDS, node=node())
        assert {r.version for r in stream.receive_acked().resources} == {""}


# -- state of the world --------------------------------------------------------------------------------------------


def test_state_of_the_world_sends_whole_sets(mesh: Mesh) -> None:
    with mesh.stream(sotw=True) as stream:
        stream.request(CDS, node=node())
        first = stream.receive()
        stream.request(CDS, answers=first)
        stream.request(EDS, REVIEWS)
        second = stream.receive()
        assert second.type_url == EDS and len(second.resources) == 1
        stream.request(EDS, REVIEWS, VM, answers=second)
        third = stream.receive()
        assert len(third.resources) == 2
        stream.request(EDS, REVIEWS, answers=second)  # stale
        stream.request(EDS, REVIEWS, VM, answers=third)
        add_service(mesh)
        pushed = stream.receive()
        assert pushed.type_url == CDS and len(pushed.resources) == len(first.resources) + 1
        assert pushed.version_info != first.version_info
        assert stream.receive().type_url == EDS


# -- who may open a stream -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"NAMESPACE": "other"}, grpc.StatusCode.PERMISSION_DENIED),
        ({"SERVICE_ACCOUNT": "other"}, grpc.StatusCode.PERMISSION_DENIED),
        ({"AUTO_REGISTER_GROUP": "nobody"}, grpc.StatusCode.FAILED_PRECONDITION),
        ({"INSTANCE_IPS": ["10.0.0.5"]}, grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
def test_a_node_that_contradicts_is_refused(mesh: Mesh, changes: dict, code: grpc.StatusCode) -> None:
    with mesh.stream() as stream:
        stream.subscribe(CDS, node=node(**changes))
        assert ended(stream)[0] == code
    assert mesh.rows() == []


def test_a_groups_account_is_checked_even_if_the_node_hides_its_own(mesh: Mesh) -> None:
    with mesh.client(mesh.token("ratings")) as client, client.delta() as stream:
        stream.subscribe(CDS, node=node(SERVICE_ACCOUNT=None))
        assert ended(stream)[0] == grpc.StatusCode.PERMISSION_DENIED


def test_a_stream_needs_a_node_and_a_caller(mesh: Mesh) -> None:
    with mesh.stream() as stream:
        stream.subscribe(CDS)
        assert ended(stream)[0] == grpc.StatusCode.INVALID_ARGUMENT
    with mesh.client() as client, client.delta() as stream:
        stream.subscribe(CDS, node=node())
        assert ended(stream)[0] == grpc.StatusCode.UNAUTHENTICATED


# -- registration --------------------------------------------------------------------------------------------------


def test_a_stream_registers_and_its_end_removes_after_the_grace(mesh: Mesh) -> None:
    mesh.data["registration"]["grace"] = "1s"
    mesh.reload()
    with mesh.stream() as stream:
        stream.subscribe(CDS, node=node())
        stream.receive_acked()
        (row,) = mesh.rows()
        assert row["name"] == "vm-app-10.0.0.5-vm-net" and row["address"] == "10.0.0.5"
        assert row["labels"] == {"app": "vm-app", "version": "v1"}
        assert row["connected"] and row["healthy"] is None and row["service_account"] == "vm-app"
    poll.until("disconnected", lambda: not mesh.rows()[0]["connected"])
    ended_at = time.monotonic()
    poll.until("removed", lambda: mesh.rows() == [])
    assert time.monotonic() - ended_at > 0.5


def test_a_reconnect_within_the_grace_keeps_row_and_health(mesh: Mesh) -> None:
    mesh.data["registration"]["grace"] = "5s"
    mesh.reload()
    with mesh.stream() as stream:
        stream.subscribe(CDS, node=node())
        stream.receive_acked()
        stream.report_health()
        poll.until("healthy", lambda: mesh.rows()[0]["healthy"])
    poll.until("disconnected", lambda: not mesh.rows()[0]["connected"])
    with mesh.stream() as stream:
        stream.subscribe(CDS, node=node())
        stream.receive_acked()
        assert mesh.rows()[0]["connected"] and mesh.rows()[0]["healthy"]


def test_two_streams_of_one_workload_are_one_row(mesh: Mesh) -> None:
    with mesh.stream() as first:
        first.subscribe(CDS, node=node())
        first.receive_acked()
        with mesh.stream() as second:
            second.subscribe(CDS, node=node())
            second.receive_acked()
            assert [row["connections"] for row in mesh.rows()] == [2]
        poll.until("one is left", lambda: mesh.rows()[0]["connections"] == 1)
        assert mesh.rows()[0]["connected"]


def test_health_decides_over_endpoints(mesh: Mesh) -> None:
    with mesh.stream() as stream:
        stream.report_health()  # before the node is known: ignored
        stream.subscribe(EDS, VM, node=node())
        assert endpoints(stream.receive_acked(), VM) == []
        stream.report_health()
        assert endpoints(stream.receive_acked(), VM) == ["10.0.0.5"]
        stream.report_health(error="HTTP 500")
        assert endpoints(stream.receive_acked(), VM) == []
        (row,) = mesh.rows()
        assert row["healthy"] is False and row["health_message"] == "HTTP 500"


def test_without_a_probe_nobody_waits_for_health(mesh: Mesh) -> None:
    with mesh.stream() as stream:
        stream.subscribe(EDS, VM, node=node(PROXY_CONFIG=None))
        assert endpoints(stream.receive_acked(), VM) == ["10.0.0.5"]


def test_rows_outlive_a_restart(mesh_file: pathlib.Path) -> None:
    with Mesh(mesh_file) as first, first.stream() as stream:
        first.data["registration"]["restart_grace"] = "300ms"
        first.reload()
        stream.subscribe(CDS, node=node())
        stream.receive_acked()
    with Mesh(mesh_file) as again:
        assert [row["name"] for row in again.rows()] == ["vm-app-10.0.0.5-vm-net"]
        assert not again.rows()[0]["connected"]
        poll.until("removed", lambda: again.rows() == [])


def test_a_state_folder_has_one_plane(mesh: Mesh) -> None:
    with pytest.raises(ConfigError, match="another devmesh"), Mesh(mesh.file):
        pass


# -- faults and the view -------------------------------------------------------------------------------------------


def test_streams_and_connections_end_on_request(mesh: Mesh) -> None:
    for order in (b'{"close_streams": true}', b'{"drop_connections": true}'):
        with mesh.stream() as stream:
            stream.subscribe(CDS, node=node())
            stream.receive_acked()
            assert ask(mesh, "POST", "/faults", order)[0] == 200
            assert ended(stream)[0] == grpc.StatusCode.UNAVAILABLE
    mesh.faults(ads_code="RESOURCE_EXHAUSTED")
    with mesh.stream() as stream:
        assert ended(stream)[0] == grpc.StatusCode.RESOURCE_EXHAUSTED
    mesh.faults(ads_code=None, refuse_connections=True)
    with mesh.stream() as stream:
        assert ended(stream)[0] == grpc.StatusCode.UNAVAILABLE


def test_held_connections_flow_again(mesh: Mesh) -> None:
    with mesh.stream() as stream:
        stream.subscribe(CDS, node=node())
        stream.receive_acked()
        mesh.faults(hold=True)
        stream.subscribe(LDS)
        time.sleep(0.1)  # that nothing happens can't be polled for
        assert LDS not in ask(mesh, "GET", "/debug")[1]["types"]
        assert ask(mesh, "DELETE", "/faults")[1]["hold"] is False
        assert stream.receive_acked().type_url == LDS


def test_the_stream_that_registers_may_lack_its_inbound_cluster(mesh: Mesh) -> None:
    mesh.data["registration"]["grace"] = "5s"
    mesh.reload()
    mesh.faults(missing_inbound=True)
    with mesh.stream() as stream:
        stream.subscribe(CDS, node=node())
        assert "inbound|8080||" not in names(stream.receive_acked())
        stream.subscribe(LDS)
        assert "virtualInbound" in names(stream.receive_acked())
    with mesh.stream() as stream:
        stream.subscribe(CDS, node=node())
        assert "inbound|8080||" in names(stream.receive_acked())


def test_the_view_refuses_what_is_wrong(mesh: Mesh) -> None:
    assert ask(mesh, "GET", "/healthz") == (200, {"status": "ok"})
    assert ask(mesh, "GET", "/nothing")[0] == 404
    for body in (b"[]", b"{", b'{"typo": 1}', b'{"hold": 1}', b'{"csr_code": "NO_SUCH"}', b'{"close_streams": "NO"}'):
        assert ask(mesh, "POST", "/faults", body)[0] == 400, body


def test_a_wrong_file_leaves_all_as_it_was(mesh: Mesh) -> None:
    mesh.file.write_text("services: [{hots: x}]")
    status, answer = ask(mesh, "POST", "/reload")
    assert status == 400 and "unknown key 'hots'" in answer["error"]
    with pytest.raises(ConfigError):
        mesh.call(lambda m: m.reload())
    assert len(mesh.call(lambda m: m.config.services)) == 2


def test_a_changed_file_is_noticed(mesh: Mesh) -> None:
    mesh.data["services"] = []
    mesh.write()
    poll.until("reloaded", lambda: mesh.call(lambda m: m.config.services) == ())
