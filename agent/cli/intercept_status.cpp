// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>

#include "cli/admin_call.h"
#include "cli/broker_call.h"
#include "cli/intercept.h"
#include "hawser/admin.pb.h"
#include "hawser/broker.pb.h"
#include "interception_json.h"

namespace hawser::cli {
namespace {

using nlohmann::json;

// By hawserd, which lets the admin group ask; without it root asks the broker.
Result<json> observe(const Context& context) {
  admin::v1::Request request;
  request.mutable_intercept_show();
  auto answer = admin_json(context, request);
  if (answer || answer.error().id() != "HWS-RPC-002") return answer;
  broker::v1::Request direct;
  direct.mutable_observe();
  broker::v1::Response seen;
  if (auto asked = broker_call(context, direct, seen, 5000); !asked) return answer.error();
  return interception_json(seen);
}

std::string text(const json& view, const char* key) {
  return view.value(key, std::string());
}

std::string clock_time(std::uint64_t unix_ms) {
  const auto seconds = static_cast<std::time_t>(unix_ms / 1000);
  std::tm parts{};
  char out[32] = {};
  if (::gmtime_r(&seconds, &parts) == nullptr || std::strftime(out, sizeof out, "%FT%TZ", &parts) == 0) return "?";
  return out;
}

std::string confirmation(const json& view) {
  const auto until = view.value("confirm_until", std::uint64_t{0});
  if (until == 0) return text(view, "state") == "active" ? ", confirmed" : "";
  return ", to be confirmed until " + clock_time(until) +
         (view.value("revert", false) ? ", else what was confirmed before comes back" : ", else it is withdrawn");
}

// How long what fails open stays so.
std::string opening(const json& view) {
  const auto most = view["on_failure"].value("max_open_seconds", 0U);
  const auto until = view.value("open_until", std::uint64_t{0});
  const auto closed = view.value("opens_closed", 0U);
  std::string out = most == 0 ? "" : ", open for at most " + std::to_string(most) + " s";
  if (until != 0) out += "; open now, until " + clock_time(until);
  if (closed != 0) out += "; closed after that " + std::to_string(closed) + (closed == 1 ? " time" : " times");
  return out;
}

void print_drift(const json& drift) {
  std::printf("  drift     %llu found, %llu healed%s\n",
              static_cast<unsigned long long>(drift.value("found", std::uint64_t{0})),
              static_cast<unsigned long long>(drift.value("healed", std::uint64_t{0})),
              drift.value("backing_off", false) ? "; somebody changes the rules again and again, repairs wait" : "");
  if (text(drift, "what").empty()) return;
  const std::string program = text(drift, "program");
  std::printf("            the last at %s by %s: %s\n", clock_time(drift.value("found_at", std::uint64_t{0})).c_str(),
              program.empty() ? "an unknown program" : program.c_str(), text(drift, "what").c_str());
}

void print(const json& view) {
  const std::string why = text(view, "backend_reason");
  std::printf("interception: %s, by %s%s\n", text(view, "state").c_str(), text(view, "backend").c_str(),
              why.empty() ? "" : (" (" + why + ")").c_str());
  if (!text(view, "digest").empty())
    std::printf("  plan      sha256:%s%s\n", text(view, "digest").c_str(), confirmation(view).c_str());
  if (view.contains("on_failure"))
    std::printf("  failure   inbound %s, outbound %s%s\n", text(view["on_failure"], "inbound").c_str(),
                text(view["on_failure"], "outbound").c_str(), opening(view).c_str());
  if (view.contains("drift")) print_drift(view["drift"]);
  for (const auto& counter : view.value("counters", json::array()))
    std::printf("  %-20s %10llu packets %12llu bytes\n", text(counter, "purpose").c_str(),
                static_cast<unsigned long long>(counter.value("packets", 0ULL)),
                static_cast<unsigned long long>(counter.value("bytes", 0ULL)));
}

void status(Context& context, bool as_json, bool with_rules) {
  auto view = observe(context);
  if (!view) return fail(context, view.error());
  if (as_json) {
    std::printf("%s\n", view->dump(2, ' ', false, json::error_handler_t::replace).c_str());
    return;
  }
  print(*view);
  if (with_rules) std::printf("%s", text(*view, "ruleset").c_str());
}

void add(CLI::App& intercept, Context& context, const char* name, const char* what, bool with_rules) {
  auto as_json = std::make_shared<bool>(false);
  auto* command = intercept.add_subcommand(name, what);
  command->add_flag("--json", *as_json, "Print as JSON");
  command->callback([&context, as_json, with_rules] { status(context, *as_json, with_rules); });
}

}  // namespace

void add_intercept_status(CLI::App& intercept, Context& context) {
  add(intercept, context, "status", "What is in force and why, counters, what others changed, what happens on failure",
      false);
  add(intercept, context, "show", "The same, with the rules as the kernel lists them", true);
}

}  // namespace hawser::cli
