// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <condition_variable>
#include <cstdio>
#include <filesystem>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/file.h"
#include "cli/admin_call.h"
#include "cli/broker_call.h"
#include "cli/command.h"
#include "hawser/admin.pb.h"

namespace hawser::cli {
namespace {

// hawserd is away: the broker needs nobody else, and the identity is only files.
Status leave_alone(const Context& context) {
  if (auto withdrawn = withdraw_by_broker(context); !withdrawn) return withdrawn;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(context.state_dir + "/identity", error)) {
    std::error_code failed;
    std::filesystem::remove_all(entry.path(), failed);
    if (failed)
      return Error(Code::kInternal, "HWS-CLI-002", "can't remove " + entry.path().string() + ": " + failed.message());
  }
  return {};
}

// Says what hawserd is at, while it leaves; from a connection of its own, since the other one waits for the end.
class LeaveProgress {
 public:
  explicit LeaveProgress(const Context& context) : context_(context), thread_([this] { watch(); }) {}
  ~LeaveProgress() {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    wake_.notify_all();
    thread_.join();
  }
  LeaveProgress(const LeaveProgress&) = delete;
  LeaveProgress& operator=(const LeaveProgress&) = delete;

 private:
  void watch() {
    admin::v1::Request request;
    request.mutable_status();
    std::string last;
    std::unique_lock lock(mutex_);
    while (!over_) {
      if (wake_.wait_for(lock, std::chrono::milliseconds(150), [this] { return over_; })) return;
      lock.unlock();
      const auto answer = admin_call(context_, request, 1000);
      const auto status = nlohmann::json::parse(answer ? *answer : "", nullptr, false);
      const std::string now = status.is_object() ? status.value("leaving", "") : "";
      if (!now.empty() && now != last) std::printf("  %s\n", (last = now).c_str());
      std::fflush(stdout);
      lock.lock();
    }
  }

  const Context& context_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool over_ = false;
  std::thread thread_;
};

// Longer than the longest withdrawal may be (workload.withdraw_wait).
constexpr int kWithdrawMs = 300'000;

Result<std::string> leave_by_hawserd(const Context& context, unsigned drain) {
  admin::v1::Request request;
  request.mutable_leave()->set_drain_seconds(drain);
  const LeaveProgress progress(context);
  return admin_call(context, request, static_cast<int>(drain) * 1000 + 60000 + kWithdrawMs);
}

void run(Context& context, unsigned drain) {
  if (!need_root(context, "leave")) return;
  const std::string drop_in = context.paths.drop_in_dir + "/50-join.yaml";
  auto answer = leave_by_hawserd(context, drain);
  if (!answer) {
    if (answer.error().id() == "HWS-AD-003" && !file::exists(drop_in)) {
      std::printf("this host is not joined: nothing to leave\n");
      return;
    }
    if (answer.error().id() != "HWS-RPC-002" && answer.error().id() != "HWS-AD-003")
      return fail(context, answer.error());
    if (answer.error().id() == "HWS-RPC-002") {
      warn(
          "hawserd isn't running: leaving with the broker alone; the control plane removes the workload after its "
          "grace time");
      if (auto left = leave_alone(context); !left) return fail(context, left.error());
    }
  }
  if (auto removed = file::remove_durable(drop_in); !removed) return fail(context, removed.error());
  std::printf("left the mesh: rules, proxy and identity are gone\n");
}

}  // namespace

void add_leave(CLI::App& app, Context& context) {
  auto* command =
      app.add_subcommand("leave", "Leave the mesh: withdraw, drain, stop the proxy, remove rules and identity");
  auto drain = std::make_shared<unsigned>(5);
  command->add_option("--drain", *drain, "Seconds that open connections get to end")
      ->check(CLI::Range(0, 600))
      ->capture_default_str();
  command->callback([&context, drain] { run(context, *drain); });
}

}  // namespace hawser::cli
