# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
# Starting proxy generations: linked into the broker. The rest of agent/proxy is hawserd's.
hawser_library(hawser_launcher
  SOURCES adopted_unit.cpp binary_store.cpp child.cpp direct_launcher.cpp generation_record.cpp holder.cpp
          process_identity.cpp shared_mark.cpp systemd_adoption.cpp systemd_bus.cpp systemd_calls.cpp systemd_launcher.cpp
          transient_runs.cpp unit_messages.cpp
          unit_properties.cpp unit_state.cpp unprivileged.cpp
  LINK hawser_base
  PRIVATE_LINK PkgConfig::md PkgConfig::systemd nlohmann_json::nlohmann_json Boost::filesystem)
