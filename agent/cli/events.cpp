// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/admin_call.h"
#include "cli/command.h"
#include "cli/event_text.h"
#include "hawser/admin.pb.h"

namespace hawser::cli {
namespace {

using nlohmann::json;

struct Known {
  std::uint64_t history = 0;
  std::uint64_t health = 0;
};

struct Event {
  std::string time;
  std::string source;
  json what;
};

// Both kinds in the order of time; RFC 3339 in UTC sorts as text.
Result<std::vector<Event>> fresh(Context& context, Known& known) {
  admin::v1::Request request;
  request.mutable_events()->set_after_history(known.history);
  request.mutable_events()->set_after_health(known.health);
  auto answer = admin_json(context, request);
  if (!answer) return answer.error();
  // The host has left and joined again: the proxy's history has begun anew.
  if (answer->value("last_history", known.history) < known.history) {
    known.history = 0;
    return fresh(context, known);
  }
  std::vector<Event> out;
  const auto take = [&out, &answer](const char* source, std::uint64_t& last) {
    for (auto& item : answer->value(source, json::array())) {
      last = std::max(last, item.value("id", std::uint64_t{0}));
      out.push_back({item.value("time", ""), source, item});
    }
  };
  take("proxy", known.history);
  take("health", known.health);
  std::stable_sort(out.begin(), out.end(), [](const Event& a, const Event& b) { return a.time < b.time; });
  return out;
}

json as_json(const Event& event) {
  json out = event.what;
  out["source"] = event.source;
  return out;
}

Status print_new(Context& context, bool lines_of_json, Known& known) {
  const auto events = fresh(context, known);
  if (!events) return events.error();
  for (const auto& event : *events) {
    const std::string line = lines_of_json              ? as_json(event).dump()
                             : event.source == "health" ? health_line(event.what)
                                                        : history_line(event.what);
    std::printf("%s\n", line.c_str());
  }
  return {};
}

void run(Context& context, bool json_wanted, bool on) {
  Known known;
  if (on) return follow(context, [&] { return print_new(context, json_wanted, known); });
  if (!json_wanted) {
    if (auto printed = print_new(context, false, known); !printed) fail(context, printed.error());
    return;
  }
  const auto events = fresh(context, known);
  if (!events) return fail(context, events.error());
  json list = json::array();
  for (const auto& event : *events) list.push_back(as_json(event));
  std::printf("%s\n", json{{"schema_version", 1}, {"events", std::move(list)}}.dump(2).c_str());
}

}  // namespace

void add_events(CLI::App& app, Context& context) {
  auto* command = app.add_subcommand("events", "What has happened: to the proxy, and to each row of `hawser status`");
  auto json_wanted = std::make_shared<bool>(false);
  auto on = std::make_shared<bool>(false);
  command->add_flag("--json", *json_wanted, "Print as JSON; with --follow a document a line");
  command->add_flag("-f,--follow", *on, "Go on with what happens, until interrupted");
  command->callback([&context, json_wanted, on] { run(context, *json_wanted, *on); });
}

}  // namespace hawser::cli
