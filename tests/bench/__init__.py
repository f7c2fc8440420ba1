# SPDX-License-Identifier: Apache-2.0
"""Benchmarks: figures of this machine, medians of several runs."""
