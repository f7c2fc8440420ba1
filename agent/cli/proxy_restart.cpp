// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/admin_call.h"
#include "cli/command.h"
#include "hawser/admin.pb.h"

namespace hawser::cli {
namespace {

using nlohmann::json;

struct RestartOptions {
  bool as_json = false;
  bool plan = false;
  bool call_off = false;
  std::string hand_over;
  std::string timeout = "3m";
};

void print_gates(const json& done) {
  for (const json& gate : done.value("gates", json::array()))
    std::printf("  %-4s %-20s %-6s %s (%d ms)\n", gate.value("passed", false) ? "ok" : "NO",
                gate.value("name", "").c_str(), gate.value("generation", "").c_str(), gate.value("reason", "").c_str(),
                gate.value("took_ms", 0));
}

void print_plan(const json& done) {
  const json& old_one = done["old"];
  const json& new_one = done["new"];
  std::printf("%s would take over from %s (pid %d) by %s: %s\n", new_one.value("generation", "").c_str(),
              old_one.value("generation", "").c_str(), old_one.value("pid", 0), done.value("hand_over", "").c_str(),
              done.value("why", "").c_str());
  print_gates(done);
  if (done.value("would_proceed", false))
    std::printf("nothing stands against it; nothing was done\n");
  else
    std::printf("it would be refused: %s %s; %s\n", done["refusal"].value("id", "").c_str(),
                done["refusal"].value("message", "").c_str(), done["refusal"].value("hint", "").c_str());
}

void print_done(const json& done) {
  const json& old_one = done["old"];
  const json& new_one = done["new"];
  print_gates(done);
  std::printf("%s (pid %d, Envoy %s) took over from %s (pid %d) in %.2f s by %s: %s\n",
              new_one.value("generation", "").c_str(), new_one.value("pid", 0), new_one.value("version", "").c_str(),
              old_one.value("generation", "").c_str(), old_one.value("pid", 0), done.value("took_ms", 0) / 1000.0,
              done.value("hand_over", "").c_str(), done.value("why", "").c_str());
  if (done.contains("refused_ms"))
    std::printf("connections were refused for at most %.2f s\n", done.value("refused_ms", 0) / 1000.0);
  else
    std::printf("open connections end at the old one\n");
}

bool is_answer(const json& done) {
  return done.is_object() && done.contains("old") && done.contains("new") &&
         (!done.value("plan", false) || done.value("would_proceed", false) || done.contains("refusal"));
}

void print(Context& context, const std::string& answer, bool call_off) {
  if (call_off) {
    std::printf("called off; the proxy that served goes on\n");
    return;
  }
  const json done = json::parse(answer, nullptr, false);
  if (!is_answer(done)) return fail(context, Error(Code::kInternal, "HWS-RPC-001", "hawserd's answer can't be read"));
  done.value("plan", false) ? print_plan(done) : print_done(done);
}

void restart(Context& context, const RestartOptions& options) {
  if (!need_root(context, "proxy restart")) return;
  const auto timeout = read_wait(context, "--timeout", options.timeout);
  if (!timeout) return;
  const bool changes = !options.plan && !options.call_off;
  if (!options.as_json && changes) std::printf("checking, then handing over\n");
  std::fflush(stdout);
  admin::v1::Request request;
  auto& job = *request.mutable_proxy_restart();
  job.set_hand_over(options.call_off ? "call-off" : options.hand_over);
  job.set_plan(options.plan);
  auto answer = admin_call(context, request, static_cast<int>(timeout->count()));
  if (!answer) {
    if (changes && answer.error().code() == Code::kDeadlineExceeded && answer.error().id().rfind("HWS-PX", 0) != 0)
      warn("hawserd goes on with it; hawser status shows the outcome");
    return fail(context, answer.error());
  }
  if (options.as_json)
    std::printf("%s\n", answer->c_str());
  else
    print(context, *answer, options.call_off);
}

}  // namespace

void add_proxy_restart(CLI::App& proxy, Context& context) {
  auto options = std::make_shared<RestartOptions>();
  auto* command = proxy.add_subcommand("restart", "Replace the running proxy by one of the store's current binary");
  command
      ->add_option("--hand-over", options->hand_over,
                   "How: side-by-side, hot-restart, planned-cold (refuses connections for a moment), or auto; without "
                   "it, as proxy.hand_over says")
      ->check(CLI::IsMember({"auto", "side-by-side", "hot-restart", "planned-cold"}));
  auto* plan = command->add_flag("--plan", options->plan, "Tell what would happen and why, and do nothing");
  command->add_flag("--call-off", options->call_off, "Give up the restart under way, while the old proxy still serves")
      ->excludes(plan);
  command->add_flag("--json", options->as_json, "Print as JSON");
  command->add_option("--timeout", options->timeout, "How long to wait for the outcome")->capture_default_str();
  command->callback([&context, options] { restart(context, *options); });
}

}  // namespace hawser::cli
