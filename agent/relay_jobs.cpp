// SPDX-License-Identifier: Apache-2.0
#include "relay_jobs.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "membership.h"
#include "xds/relay.h"

namespace hawser {
namespace {

using nlohmann::json;
using Done = std::function<void(Result<std::string>)>;

constexpr std::uint32_t kDefaultDebugMs = 10'000;
constexpr std::uint32_t kMaxDebugMs = 60'000;

struct RelayRunner {
  const Membership& membership;
  xds::Relay& relay;
  Done done;

  void operator()(const DebugJob& job) const {
    const auto timeout = std::min(job.timeout_ms == 0 ? kDefaultDebugMs : job.timeout_ms, kMaxDebugMs);
    relay.debug({job.type, job.resource}, std::chrono::milliseconds(timeout), done);
  }
  void operator()(const HoldJob& job) const {
    const auto what = job.listeners ? xds::Hold::What::kListeners : xds::Hold::What::kUpdates;
    relay.hold(job.generation, what, std::chrono::seconds(job.seconds), job.reason,
               [finish = done, job, what](const Result<std::size_t>& streams) {
                 if (!streams) return finish(streams.error());
                 const json out = {{"schema_version", 1},    {"generation", job.generation}, {"what", to_text(what)},
                                   {"seconds", job.seconds}, {"reason", job.reason},         {"streams", *streams}};
                 finish(out.dump());
               });
  }
  void operator()(const ReleaseJob& job) const {
    relay.release(job.generation, [finish = done](const Status& released) {
      if (!released) return finish(released.error());
      finish(std::string("{}"));
    });
  }
  void operator()(const BootstrapJob&) const { done(membership.program_bootstrap()); }
};

}  // namespace

void run_relay_job(const Membership& membership, const RelayJob& job, Done done) {
  xds::Relay* relay = membership.relay();
  if (relay == nullptr)
    return done(Error(Code::kFailedPrecondition, "HWS-MB-003", "this host is leaving", "hawser status"));
  std::visit(RelayRunner{membership, *relay, std::move(done)}, job);
}

}  // namespace hawser
