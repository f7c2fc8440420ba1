// SPDX-License-Identifier: Apache-2.0
#include <sysexits.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <thread>

#include "cli/admin_call.h"
#include "cli/command.h"
#include "cli/peer_line.h"
#include "hawser/admin.pb.h"

namespace hawser::cli {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr int kDrainMs = 15'000;
constexpr int kUndrainMs = 120'000;  // another proxy may have to be started
constexpr auto kLookEvery = std::chrono::milliseconds(200);
constexpr auto kSayEvery = std::chrono::seconds(5);
constexpr int kDeaf = 10;  // looks in a row that hawserd didn't answer, as while it's restarted

struct DrainOptions {
  bool listeners = false;
  bool wait = false;
  bool until_reboot = false;
  bool as_json = false;
  std::string time;
};

std::string plural(std::uint64_t count, const std::string& what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

// What holds it up: by listener as the proxy counts it, and the oldest ones as the kernel has them.
void print_open(const json& drain) {
  for (const auto& item : drain.value("listeners", json::array()))
    if (item.value("inbound", false))
      std::printf("  listener %s: %s\n", item.value("listener", "").c_str(),
                  plural(item.value("connections", std::uint64_t{0}), "connection").c_str());
  for (const auto& peer : drain.value("peers", json::array())) std::printf("    %s\n", peer_line(peer).c_str());
}

Result<json> look(const Context& context) {
  admin::v1::Request request;
  request.mutable_status();
  int failures = 0;
  while (true) {
    auto status = admin_json(context, request, 2000);
    if (status) return status->value("drain", json::object());
    if (++failures == kDeaf) return status.error();
    std::this_thread::sleep_for(kLookEvery);
  }
}

// A line when the number changes, and now and then.
class DrainProgress {
 public:
  explicit DrainProgress(bool silent) : silent_(silent) {}
  void tell(const json& drain) {
    const auto open = drain.value("connections", std::int64_t{0});
    const auto now = Clock::now();
    if (silent_ || (open == last_ && now - said_ < kSayEvery)) return;
    last_ = open;
    said_ = now;
    std::printf("  %s of callers open, %lld s left\n", plural(static_cast<std::uint64_t>(open), "connection").c_str(),
                static_cast<long long>(drain.value("left_ms", std::int64_t{0}) + 999) / 1000);
    std::fflush(stdout);
  }

 private:
  bool silent_;
  std::int64_t last_ = -1;
  Clock::time_point said_{};
};

Result<json> wait_until_empty(const Context& context, bool silent) {
  DrainProgress progress(silent);
  while (true) {
    auto drain = look(context);
    if (!drain) return drain;
    if (drain->value("stage", "none") == "none")
      return Error(Code::kAborted, "HWS-DR-004", "the drain was taken back meanwhile", "hawser status");
    if (drain->value("drained", false) || drain->value("left_ms", 0) == 0) return drain;
    if (drain->contains("connections")) progress.tell(*drain);
    std::this_thread::sleep_for(kLookEvery);
  }
}

void print_begun(const json& drain) {
  std::printf("drained: the control plane is told to send callers elsewhere; rules and connections stay\n");
  if (drain.value("stage", "") == "listeners")
    std::printf("inbound listeners are drained: callers are asked to go, and the listeners close after proxy.drain\n");
  if (!drain.value("kept", true)) warn("it can't be kept on disk: a restart of hawserd takes it back (hawser status)");
  std::fflush(stdout);
}

void finish(Context& context, const json& drain) {
  const auto open = drain.value("connections", std::uint64_t{0});
  if (drain.value("drained", false)) {
    std::printf("no caller is connected any more\n");
    return;
  }
  print_open(drain);
  fail(context, Error(Code::kDeadlineExceeded, "HWS-DR-005",
                      "the time is over, and " + plural(open, "connection") + " of callers live on",
                      "wait longer (--time), or stop what you drain for all the same"));
}

void drain(Context& context, const DrainOptions& options) {
  if (!need_root(context, "drain")) return;
  admin::v1::Request request;
  auto* order = request.mutable_drain();
  order->set_listeners(options.listeners);
  order->set_until_reboot(options.until_reboot);
  if (!options.time.empty()) {
    const auto time = read_wait(context, "--time", options.time);
    if (!time) return;
    order->set_time_ms(static_cast<std::uint32_t>(std::max<std::int64_t>(time->count(), 1)));
  }
  auto answer = admin_json(context, request, kDrainMs);
  if (!answer) return fail(context, answer.error());
  if (!options.as_json) print_begun(*answer);
  if (options.wait) {
    answer = wait_until_empty(context, options.as_json);
    if (!answer) return fail(context, answer.error());
    if (!options.as_json) return finish(context, *answer);
    if (!answer->value("drained", false)) context.exit_code = EX_TEMPFAIL;
  }
  if (options.as_json) std::printf("%s\n", answer->dump(2).c_str());
}

void undrain(Context& context, bool as_json) {
  if (!need_root(context, "undrain")) return;
  const auto before = look(context);
  const bool closed = before && before->value("stage", "none") == "listeners";
  if (closed && !as_json) {
    std::printf("drained listeners open again in another proxy only: it is restarted, callers come after that\n");
    std::fflush(stdout);
  }
  admin::v1::Request request;
  request.mutable_undrain();
  auto answer = admin_json(context, request, kUndrainMs);
  if (!answer) return fail(context, answer.error());
  if (as_json) {
    std::printf("%s\n", answer->dump(2).c_str());
  } else if (before && before->value("stage", "none") == "none") {
    std::printf("this host isn't drained\n");
  } else {
    std::printf("callers may come again, as the health of this host's services allows\n");
  }
}

}  // namespace

void add_drain(CLI::App& app, Context& context) {
  auto options = std::make_shared<DrainOptions>();
  auto* out = app.add_subcommand("drain", "Have callers go elsewhere, until `hawser undrain`; nothing is cut off");
  out->add_flag("--listeners", options->listeners,
                "Close the proxy's inbound listeners too, after asking callers to go");
  out->add_flag("--wait", options->wait, "Wait until no caller is connected any more, or the time is over");
  out->add_option("--time", options->time, "How long connections get, e.g. 90s (workload.withdraw_wait + proxy.drain)");
  out->add_flag("--until-reboot", options->until_reboot, "The machine's next boot ends it");
  out->add_flag("--json", options->as_json, "Print as JSON");
  out->callback([&context, options] { drain(context, *options); });
  auto as_json = std::make_shared<bool>(false);
  auto* back = app.add_subcommand("undrain", "Take `hawser drain` back");
  back->add_flag("--json", *as_json, "Print as JSON");
  back->callback([&context, as_json] { undrain(context, *as_json); });
}

}  // namespace hawser::cli
