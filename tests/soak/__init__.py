# SPDX-License-Identifier: Apache-2.0
"""Runs that are too long for `./dev test`; it has a short form of each."""
