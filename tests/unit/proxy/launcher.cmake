# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
# The launchers are linked into the broker, not into hawserd: a test program of their own.
hawser_test(launcher_test
  SOURCES direct_launcher_test.cpp systemd_launcher_test.cpp transient_runs_test.cpp unit_properties_test.cpp unit_state_test.cpp
  LINK hawser_launcher)
