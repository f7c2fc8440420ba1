// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/admin_call.h"
#include "cli/command.h"
#include "cli/xds_group.h"
#include "hawser/admin.pb.h"

namespace hawser::cli {
namespace {

using nlohmann::json;

std::string time_of(const json& type, const char* key) {
  return type.value(key, std::string("-"));
}

void print_types(const json& status) {
  std::printf("%-28s %9s %10s %6s %6s %6s  %-24s %-24s %s\n", "TYPE", "RESOURCES", "BYTES", "RESP", "ACK", "NACK",
              "LAST RESPONSE", "LAST ACK", "LAST NACK");
  for (const auto& type : status.value("types", json::array())) {
    const std::string url = type.value("type", "");
    const std::string name = url.substr(url.find_last_of("./") + 1) + (type.value("from_snapshot", false) ? " *" : "");
    std::printf("%-28s %9llu %10llu %6llu %6llu %6llu  %-24s %-24s %s\n", name.c_str(), type.value("resources", 0ULL),
                type.value("bytes", 0ULL), type.value("responses", 0ULL), type.value("acks", 0ULL),
                type.value("nacks", 0ULL), time_of(type, "last_response").c_str(), time_of(type, "last_ack").c_str(),
                time_of(type, "last_nack").c_str());
  }
}

void print_relay(const json& status) {
  const json plane = status.value("control_plane", json::object());
  const json snapshot = status.value("snapshot", json::object());
  const std::string name = plane.value("name", "");
  if (plane.value("connected", false)) {
    std::printf("control plane: connected to %s (%s)\n", name.c_str(), plane.value("address", "").c_str());
  } else {
    std::printf("control plane: %s isn't there: %s\n", name.c_str(), plane.value("last_error", "").c_str());
  }
  std::printf("streams opened upstream: %llu; proxies' streams: %llu\n", plane.value("streams_opened", 0ULL),
              status.value("downstreams", 0ULL));
  if (snapshot.contains("as_of")) {
    std::printf("last good: %s, %lld s old, %llu bytes%s\n", snapshot.value("as_of", "").c_str(),
                snapshot.value("age_seconds", 0LL), snapshot.value("bytes", 0ULL),
                snapshot.value("serving", false) ? "; it is served (*)" : "");
  } else {
    std::printf("last good: none\n");
  }
  print_types(status);
}

void run_xds_status(Context& context, bool as_json) {
  admin::v1::Request request;
  request.mutable_xds_status();
  auto answer = admin_json(context, request);
  if (!answer) return fail(context, answer.error());
  const auto& status = *answer;
  if (as_json)
    std::printf("%s\n", status.dump(2).c_str());
  else
    print_relay(status);
}

}  // namespace

void add_xds_status(CLI::App& app, Context& context) {
  auto* command = xds_group(app).add_subcommand("status", "What the relay holds and who was told, by type");
  auto as_json = std::make_shared<bool>(false);
  command->add_flag("--json", *as_json, "Print as JSON");
  command->callback([&context, as_json] { run_xds_status(context, *as_json); });
}

}  // namespace hawser::cli
