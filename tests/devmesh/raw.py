# SPDX-License-Identifier: Apache-2.0
"""Responses that nobody should send, described as JSON: for the action `send`.

{"raw": BASE64}: these bytes.
{"type": URL, "name": NAME, "any": URL, "bytes": N, "nonce": N, "version": V, "cut": M}: a delta response of one type with
one resource; `any`: the type that the resource claims, `bytes`: how long it is (of zeros), `cut`: bytes missing at the
end. All but `type` may be left out; without `name` there is no resource.
`times` on either: that often.
"""

from __future__ import annotations

import base64
import typing

from envoy.service.discovery.v3 import discovery_pb2

_MAX_BYTES = 1 << 30
MAX_TIMES = 4096


def messages(wanted: typing.Any) -> list[bytes]:
    """ValueError, TypeError or KeyError: not such a description."""
    out: list[bytes] = []
    for each in wanted if isinstance(wanted, list) else [wanted]:
        out += [_message(each)] * min(int(each.get("times", 1)), MAX_TIMES)
    return out


def _message(each: dict[str, typing.Any]) -> bytes:
    if "raw" in each:
        return base64.b64decode(each["raw"])
    response = discovery_pb2.DeltaDiscoveryResponse(type_url=each["type"], nonce=each.get("nonce", "raw"))
    if "name" in each:
        resource = response.resources.add(name=each["name"], version=each.get("version", "raw"))
        resource.resource.type_url = each.get("any", each["type"])
        resource.resource.value = bytes(min(int(each.get("bytes", 0)), _MAX_BYTES))
    whole = response.SerializeToString()
    return whole[: len(whole) - int(each.get("cut", 0))]
