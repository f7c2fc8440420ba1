# SPDX-License-Identifier: Apache-2.0
"""A small control plane and CA: the Kubernetes side of a mesh, for the demo and the tests.

    server.py    composes all of it; Devmesh runs in an event loop, BackgroundDevmesh in a thread
    config.py    the one YAML file            faults.py    misbehaviour on request
    ca.py        root and certificates        tokens.py    JWT bearer tokens and their JWKS
    frames.py    HTTP/2 frames, spoilt        raw.py       responses that nobody should send
    front.py     TLS, client certificates     auth.py      who calls
    csr.py       IstioCertificateService      ads.py       ADS streams, delta.py and sotw.py their rules
    registry.py  workload table               resources.py clusters, endpoints, listeners, routes
    coalesce.py  much asked, done once        snapshot_cache.py  one snapshot for a group
    view.py      HTTP view                    bundle.py    the five-file onboarding bundle
    plane.py     lab.plane.Plane on top of the command (`python -m devmesh`)

`python -m devmesh --config FILE fault goaway=middle drop_connections=true` makes the running plane misbehave,
`… fault --reset` ends that; faults.py has all of them.
"""
