// SPDX-License-Identifier: Apache-2.0
#include "cli/proxy_hand_over.h"

#include <CLI/CLI.hpp>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "cli/admin_call.h"
#include "hawser/admin.pb.h"

namespace hawser::cli {
namespace {

using nlohmann::json;

void print_gate(const json& gate) {
  std::printf("  %-4s %-20s %-6s %s", gate.value("passed", false) ? "ok" : "NO", text_in(gate, "name").c_str(),
              text_in(gate, "generation").c_str(), text_in(gate, "reason").c_str());
  if (const int took = gate.value("took_ms", -1); took >= 0) std::printf(" (%d ms)", took);
  std::printf("\n");
}

// Prints what is new in the proxy's history, from a connection of its own: the other one waits for the outcome.
class Gates {
 public:
  explicit Gates(const Context& context) : context_(context) {
    read(false);
    thread_ = std::thread([this] { watch(); });
  }
  ~Gates() {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    wake_.notify_all();
    thread_.join();
    read(true);
  }
  Gates(const Gates&) = delete;
  Gates& operator=(const Gates&) = delete;

 private:
  void watch() {
    std::unique_lock lock(mutex_);
    while (!wake_.wait_for(lock, std::chrono::milliseconds(100), [this] { return over_; })) {
      lock.unlock();
      read(true);
      lock.lock();
    }
  }

  void read(bool show) {
    admin::v1::Request request;
    request.mutable_proxy_history()->set_after(last_);
    const auto answer = admin_json(context_, request, 2000);
    if (!answer || !answer->contains("entries") || !(*answer)["entries"].is_array()) return;
    for (const json& entry : (*answer)["entries"]) {
      if (!entry.is_object()) continue;
      if (const auto id = entry.find("id"); id != entry.end() && id->is_number_unsigned())
        last_ = std::max(last_, id->get<std::uint64_t>());
      if (show) print(entry);
    }
    std::fflush(stdout);
  }

  // A gate, or a state that a generation came into.
  static void print(const json& entry) {
    if (text_in(entry, "kind") == "gate") return print_gate(entry);
    const std::string reason = text_in(entry, "reason");
    std::printf("       %-20s %-6s %s\n", (text_in(entry, "from") + " -> " + text_in(entry, "name")).c_str(),
                text_in(entry, "generation").c_str(), reason.c_str());
  }

  const Context& context_;
  std::uint64_t last_ = 0;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool over_ = false;
  std::thread thread_;
};

// Is there a hand-over to be watched?
bool shows(const HandOverOptions& options) {
  return !options.as_json && !options.plan;
}

Result<std::string> ask(const Context& context, const HandOverOptions& options, std::chrono::milliseconds timeout,
                        const std::string& binary_sha256) {
  admin::v1::Request request;
  auto* job = request.mutable_proxy_restart();
  job->set_hand_over(options.hand_over);
  job->set_plan(options.plan);
  job->set_binary_sha256(binary_sha256);
  std::optional<Gates> gates;
  if (shows(options)) gates.emplace(context);
  return admin_call(context, request, static_cast<int>(timeout.count()));
}

void print_gates(const json& done) {
  for (const json& gate : done.value("gates", json::array())) print_gate(gate);
}

void print_plan(const json& done) {
  const json& old_one = done["old"];
  std::printf("%s would take over from %s (pid %d) by %s: %s\n", text_in(done["new"], "generation").c_str(),
              text_in(old_one, "generation").c_str(), old_one.value("pid", 0), text_in(done, "hand_over").c_str(),
              text_in(done, "why").c_str());
  print_gates(done);
  if (done.value("would_proceed", false)) {
    std::printf("nothing stands against it; nothing was done\n");
    return;
  }
  const json refusal = done.value("refusal", json::object());
  std::printf("it would be refused: %s (fix: %s) [%s]\n", text_in(refusal, "message").c_str(),
              text_in(refusal, "hint").c_str(), text_in(refusal, "id").c_str());
}

// The gates have been printed as they came.
void print_done(const json& done) {
  const json& old_one = done["old"];
  const json& new_one = done["new"];
  if (text_in(old_one, "generation").empty()) {
    std::printf("%s (pid %d, Envoy %s) was started, LIVE after %.2f s: %s\n", text_in(new_one, "generation").c_str(),
                new_one.value("pid", 0), text_in(new_one, "version").c_str(), done.value("took_ms", 0) / 1000.0,
                text_in(done, "why").c_str());
    return;
  }
  std::printf("%s (pid %d, Envoy %s) took over from %s (pid %d) in %.2f s by %s: %s\n",
              text_in(new_one, "generation").c_str(), new_one.value("pid", 0), text_in(new_one, "version").c_str(),
              text_in(old_one, "generation").c_str(), old_one.value("pid", 0), done.value("took_ms", 0) / 1000.0,
              text_in(done, "hand_over").c_str(), text_in(done, "why").c_str());
  if (done.contains("refused_ms"))
    std::printf("connections were refused for at most %.2f s\n", done.value("refused_ms", 0) / 1000.0);
  else
    std::printf("open connections end at the old one\n");
}

Error unreadable() {
  return {Code::kInternal, "HWS-RPC-001", "hawserd's answer can't be read"};
}

}  // namespace

void add_hand_over_flags(CLI::App& command, HandOverOptions& options) {
  command
      .add_option("--hand-over", options.hand_over,
                  "How: side-by-side, hot-restart, planned-cold (refuses connections for a moment), or auto; without "
                  "it, as proxy.hand_over says")
      ->check(CLI::IsMember({"auto", "side-by-side", "hot-restart", "planned-cold"}));
  command.add_flag("--plan", options.plan, "Only say what would happen, and why");
  command.add_flag("--json", options.as_json, "Print as JSON");
  command.add_option("--timeout", options.timeout, "How long to wait for the outcome")->capture_default_str();
}

bool HandOverOutcome::nothing_runs() const {
  if (answer) return false;
  const std::string& id = answer.error().id();
  return id == "HWS-MB-002" || id == "HWS-RPC-002" || id == "HWS-AD-003";
}

HandOverOutcome hand_over(const Context& context, const HandOverOptions& options, std::chrono::milliseconds timeout,
                          const std::string& binary_sha256) {
  if (shows(options)) std::printf("checking, then handing over\n");
  std::fflush(stdout);
  HandOverOutcome out{ask(context, options, timeout, binary_sha256)};
  if (out.answer || options.plan || out.answer.error().code() != Code::kDeadlineExceeded) return out;
  const std::string& id = out.answer.error().id();
  out.open = id == "HWS-PX-004" || id == "HWS-RPC-002";  // what else took too long is over
  return out;
}

Status print_hand_over(const HandOverOptions& options, const std::string& answer) {
  const json done = json::parse(answer, nullptr, false);
  if (!done.is_object()) return unreadable();
  if (options.as_json) {
    std::printf("%s\n", answer.c_str());
    return {};
  }
  if (!done.contains("old") || !done.contains("new")) return unreadable();
  options.plan ? print_plan(done) : print_done(done);
  return {};
}

}  // namespace hawser::cli
