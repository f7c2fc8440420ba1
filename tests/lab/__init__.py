# SPDX-License-Identifier: Apache-2.0
"""Hosts as namespaces, and the services, planes and steps that tests and the demo share."""
