# SPDX-License-Identifier: Apache-2.0
"""The little of the Kubernetes API that the tests need, over sockets made in the control plane's namespace."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import typing

CONNECT_TIMEOUT = 5.0
ANSWER_TIMEOUT = 10.0

_GROUPS = {  # kind -> (path of its API group and version, plural)
    "ConfigMap": ("/api/v1", "configmaps"),
    "Namespace": ("/api/v1", "namespaces"),
    "ServiceAccount": ("/api/v1", "serviceaccounts"),
    "AuthorizationPolicy": ("/apis/security.istio.io/v1", "authorizationpolicies"),
    "PeerAuthentication": ("/apis/security.istio.io/v1", "peerauthentications"),
    "ServiceEntry": ("/apis/networking.istio.io/v1", "serviceentries"),
    "DestinationRule": ("/apis/networking.istio.io/v1", "destinationrules"),
    "WorkloadEntry": ("/apis/networking.istio.io/v1", "workloadentries"),
    "WorkloadGroup": ("/apis/networking.istio.io/v1", "workloadgroups"),
}
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


class ApiError(RuntimeError):
    """The API server's refusal."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status


class _Connection(http.client.HTTPSConnection):
    def __init__(self, connect: typing.Callable[[], socket.socket], context: ssl.SSLContext) -> None:
        super().__init__("127.0.0.1", context=context, timeout=ANSWER_TIMEOUT)
        self._open, self._tls = connect, context

    def connect(self) -> None:
        plain = self._open()
        plain.settimeout(ANSWER_TIMEOUT)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)


class Kube:
    """A client with an administrator's token; a connection a request, so it survives the server's restart."""

    def __init__(self, connect: typing.Callable[[], socket.socket], root: str, token: str) -> None:
        self._connect = connect
        self._context = ssl.create_default_context(cadata=root)
        self._token = token

    def request(self, method: str, path: str, body: str | None = None, content_type: str = "application/json") -> str:
        """The answer's body; ApiError if the server refuses, OSError if it can't be reached."""
        connection = _Connection(self._connect, self._context)
        try:
            headers = {"Authorization": f"Bearer {self._token}", "Content-Type": content_type}
            connection.request(method, path, None if body is None else body.encode(), headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status >= 400:
            raise ApiError(answer.status, _message(text))
        return text

    def ready(self) -> bool:
        try:
            return self.request("GET", "/readyz") == "ok"
        except (OSError, ApiError, http.client.HTTPException):
            return False

    def apply(self, thing: dict) -> None:
        """Server-side apply: makes the object or changes it to this."""
        path = object_path(thing["kind"], thing["metadata"]["name"], thing["metadata"].get("namespace"))
        query = "?fieldManager=hawser-interop&force=true"
        self.request("PATCH", path + query, json.dumps(thing), "application/apply-patch+yaml")

    def get(self, kind: str, name: str, namespace: str | None = None) -> dict | None:
        try:
            return json.loads(self.request("GET", object_path(kind, name, namespace)))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def list(self, kind: str, namespace: str) -> list[dict]:
        return json.loads(self.request("GET", object_path(kind, "", namespace).rstrip("/")))["items"]

    def delete(self, kind: str, name: str, namespace: str) -> None:
        """Also fine if there is none."""
        try:
            self.request("DELETE", object_path(kind, name, namespace))
        except ApiError as error:
            if error.status != 404:
                raise

    def install_crds(self, yaml_text: str) -> None:
        """One document after the other, as they are: the API server reads YAML itself."""
        for document in yaml_text.split("\n---\n"):
            if "kind: CustomResourceDefinition" in document:
                self.request("POST", _CRDS, document, "application/yaml")

    def crds_established(self, count: int) -> bool:
        items = json.loads(self.request("GET", _CRDS))["items"]
        established = [i for i in items if condition(i, "Established") == "True"]
        return len(established) >= count

    def token(self, namespace: str, service_account: str, audience: str, seconds: int = 3600) -> str:
        """The TokenRequest API, as `kubectl create token` uses it."""
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": [audience], "expirationSeconds": seconds},
        }
        path = object_path("ServiceAccount", service_account, namespace) + "/token"
        return json.loads(self.request("POST", path, json.dumps(body)))["status"]["token"]


def object_path(kind: str, name: str, namespace: str | None = None) -> str:
    group, plural = _GROUPS[kind]
    scope = f"/namespaces/{namespace}" if namespace else ""
    return f"{group}{scope}/{plural}/{name}"


def condition(thing: dict, kind: str) -> str | None:
    """The status of one of the object's conditions; None if it has no such condition."""
    for entry in thing.get("status", {}).get("conditions", []):
        if entry.get("type") == kind:
            return entry.get("status")
    return None


def _message(text: str) -> str:
    try:
        return json.loads(text)["message"]
    except (ValueError, KeyError, TypeError):
        return text.strip()[:300]
