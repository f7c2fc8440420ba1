// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/admin_call.h"
#include "cli/command.h"
#include "hawser/admin.pb.h"

namespace hawser::cli {
namespace {

using nlohmann::json;

std::string text_of(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return {};
  return found->is_string() ? found->get<std::string>() : found->dump();
}

int health_exit(const std::string& state) {
  if (state == "ok" || state == "not_joined") return 0;
  return state == "failed" ? 1 : 2;
}

std::string painted(const std::string& state) {
  if (!colours(1)) return state;
  const char* colour = state == "ok" ? "32" : state == "failed" ? "31" : "33";
  return std::string("\033[") + colour + "m" + state + "\033[0m";
}

void print_items(const json& status) {
  for (const auto& item : status.value("items", json::array())) {
    const std::string state = text_of(item, "state");
    // painted() adds invisible characters: pad by hand
    std::printf("  %-16s %s%*s %s\n", text_of(item, "name").c_str(), painted(state).c_str(),
                static_cast<int>(state.size() < 9 ? 9 - state.size() : 0), "", text_of(item, "detail").c_str());
    if (const auto fix = text_of(item, "fix"); !fix.empty())
      std::printf("  %-16s fix: %s [%s]\n", "", fix.c_str(), text_of(item, "id").c_str());
  }
}

void print_holds(const json& status) {
  const json plane = status.value("control_plane", json::object());
  for (const auto& hold : plane.value("held_back", json::array()))
    std::printf("  %-16s %s gets no %s until %s: %s\n", "held back", text_of(hold, "generation").c_str(),
                text_of(hold, "what").c_str(), text_of(hold, "until").c_str(), text_of(hold, "reason").c_str());
}

// What the control plane was told of this host, and how its services are.
void print_registration(const json& status) {
  const json told = status.value("registration", json::object());
  if (!told.contains("address")) return;
  std::string line = text_of(told, "address") + " as " + text_of(told, "health");
  if (const auto at = text_of(told, "told_at"); !at.empty()) line += " at " + at;
  if (const auto entry = text_of(told, "entry"); !entry.empty()) line += ", entry " + entry;
  std::printf("  %-16s %s\n", "told the plane", line.c_str());
  for (const auto& service : told.value("services", json::array())) {
    if (text_of(service, "probe") == "none") continue;
    const std::string reason = text_of(service, "reason");
    std::printf("  %-16s %s (%s)%s%s\n", ("service " + text_of(service, "name")).c_str(),
                text_of(service, "health").c_str(), text_of(service, "probe").c_str(), reason.empty() ? "" : ": ",
                reason.c_str());
  }
}

// Only where there is more to say than "connected".
void print_control_plane(const json& status) {
  const auto plane = status.find("control_plane");
  if (plane == status.end() || !plane->is_object()) return;
  const std::string way = text_of(*plane, "dialled");
  if (!plane->value("connected", false)) {
    std::printf("  %-16s since %s, attempt %u", "not connected", text_of(*plane, "since").c_str(),
                plane->value("attempts", 0U));
    if (!way.empty()) std::printf(", last at %s", way.c_str());
    if (const auto next = text_of(*plane, "next_try"); !next.empty()) std::printf(", next at %s", next.c_str());
    std::printf("\n");
  } else if (const unsigned priority = plane->value("priority", 0U); priority > 0) {
    std::printf("  %-16s %s, of priority %u, since %s\n", "dialled", way.c_str(), priority,
                text_of(*plane, "since").c_str());
  }
}

void print_status(const json& status) {
  std::printf("%s: %s\n", painted(text_of(status, "state")).c_str(), text_of(status, "summary").c_str());
  std::string events;
  for (const auto& event : status.value("events", json::array())) {
    const std::string when = event.contains("passed_over") ? "passed over" : text_of(event, "since_start_ms") + "ms";
    events += (events.empty() ? "" : " > ") + text_of(event, "name") + " " + when;
  }
  if (!events.empty()) std::printf("  %s\n", events.c_str());
  print_items(status);
  print_holds(status);
  print_registration(status);
  print_control_plane(status);
}

void run_status(Context& context, bool as_json) {
  admin::v1::Request request;
  request.mutable_status();
  auto answer = admin_json(context, request);
  if (!answer) return fail(context, answer.error());
  const auto& status = *answer;
  if (as_json)
    std::printf("%s\n", status.dump(2).c_str());
  else
    print_status(status);
  context.exit_code = health_exit(text_of(status, "state"));
}

}  // namespace

void add_status(CLI::App& app, Context& context) {
  auto* command = app.add_subcommand("status", "Is this host fine? Exit code 0 fine, 1 failed, 2 starting or degraded");
  auto as_json = std::make_shared<bool>(false);
  command->add_flag("--json", *as_json, "Print the whole status as JSON");
  command->callback([&context, as_json] { run_status(context, *as_json); });
}

}  // namespace hawser::cli
