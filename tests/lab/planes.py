# SPDX-License-Identifier: Apache-2.0
"""The control planes to choose from; each is imported only when chosen."""

from __future__ import annotations

from lab.plane import Plane

NAMES = ("devmesh", "istiod")


def make_plane(name: str) -> Plane:
    if name == "devmesh":
        from devmesh.plane import DevmeshPlane

        return DevmeshPlane()
    if name == "istiod":
        from interop.istiod import IstiodPlane

        # Without dual stack, Envoy's listeners are IPv4 only, and Hawser captures no family without a listener.
        return IstiodPlane(istiod_env={"ISTIO_DUAL_STACK": "true"})
    raise ValueError(f"no plane is called {name!r}; there are {', '.join(NAMES)}")
