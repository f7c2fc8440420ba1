// SPDX-License-Identifier: Apache-2.0
// The core's part in holding back (hold.h).
#include <string>

#include "base/log.h"
#include "xds/core.h"

namespace hawser::xds {
namespace {

void count_end(Metrics& metrics, const char* how) {
  metrics.add("hawser_xds_holds_ended_total", "Holds that ended, by how.", {{"how", how}});
}

}  // namespace

Result<std::size_t> Core::hold(const Hold& hold) {
  if (auto added = hub_.holds().add(hold, strand_.now()); !added) return added.error();
  const auto left = std::chrono::duration_cast<std::chrono::seconds>(hold.until - strand_.now());
  // In a hand-over it's a matter of course.
  const auto say = hold.by == Hold::By::kHandOver ? log::info : log::warn;
  say("a generation of the proxy is held back", {{"generation", hold.generation},
                                                 {"what", std::string(to_text(hold.what))},
                                                 {"seconds", std::to_string(left.count())},
                                                 {"reason", hold.reason}});
  arm_timer();
  publish();
  return hub_.streams_of(hold.generation);
}

Status Core::release(const std::string& generation, Hold::By by) {
  const auto count = hub_.holds().remove(generation, by);
  if (count == 0)
    return Error(Code::kNotFound, "HWS-XDS-032", "nothing is held back from '" + generation + "'",
                 "'hawser status' shows what is");
  for (std::size_t i = 0; i < count; ++i) count_end(metrics_, "released");
  log::info("a generation of the proxy isn't held back any more", {{"generation", generation}});
  pump();
  publish();
  return {};
}

void Core::end_holds() {
  const auto expired = hub_.holds().take_expired(strand_.now());
  for (const auto& hold : expired) {
    count_end(metrics_, "expired");
    log::warn("a generation was held back until its time limit; it gets everything now",
              {{"generation", hold.generation}, {"what", std::string(to_text(hold.what))}, {"reason", hold.reason}});
  }
  if (!expired.empty()) publish();
}

}  // namespace hawser::xds
