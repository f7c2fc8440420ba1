# SPDX-License-Identifier: Apache-2.0
"""Tests on a booted Debian with systemd."""
