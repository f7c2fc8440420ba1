// SPDX-License-Identifier: Apache-2.0
#include "cli/peer_line.h"

#include <cstdint>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace hawser::cli {
namespace {

std::string size_text(std::uint64_t bytes) {
  constexpr double kStep = 1024;
  if (bytes < 1024) return std::to_string(bytes) + " B";
  double size = static_cast<double>(bytes) / kStep;
  const char* unit = "KiB";
  for (const char* next : {"MiB", "GiB", "TiB"}) {
    if (size < kStep) break;
    size /= kStep;
    unit = next;
  }
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f %s", size, unit);
  return text;
}

}  // namespace

std::string peer_line(const nlohmann::json& peer) {
  const std::string address = peer.value("address", "");
  const bool v6 = address.find(':') != std::string::npos;
  std::string out = (v6 ? "[" + address + "]" : address) + ":" + std::to_string(peer.value("port", 0));
  const auto seconds = [&peer](const char* key) { return std::to_string(peer.value(key, std::int64_t{0}) / 1000); };
  if (peer.contains("seen_for_ms")) out += ", for " + seconds("seen_for_ms") + " s or more";
  out += ", " + size_text(peer.value("received", std::uint64_t{0})) + " in, " +
         size_text(peer.value("sent", std::uint64_t{0})) + " out";
  return out + ", silent for " + seconds("idle_ms") + " s";
}

}  // namespace hawser::cli
