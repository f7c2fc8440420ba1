# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
# Starting proxy generations: linked into the broker. The rest of agent/proxy is hawserd's.
# These two are the command line's, too.
hawser_library(hawser_binary_folder
  SOURCES binary_folder.cpp
  LINK hawser_base
  PRIVATE_LINK nlohmann_json::nlohmann_json)

hawser_library(hawser_child
  SOURCES child.cpp unprivileged.cpp version_words.cpp
  LINK hawser_base
  PRIVATE_LINK Boost::filesystem)

hawser_library(hawser_launcher
  SOURCES adopted_unit.cpp binary_store.cpp direct_launcher.cpp generation_record.cpp holder.cpp
          process_identity.cpp shared_mark.cpp systemd_adoption.cpp systemd_bus.cpp systemd_calls.cpp systemd_launcher.cpp
          transient_runs.cpp unit_messages.cpp
          unit_properties.cpp unit_state.cpp
  LINK hawser_base hawser_binary_folder hawser_child
  PRIVATE_LINK PkgConfig::md PkgConfig::systemd nlohmann_json::nlohmann_json Boost::filesystem)
