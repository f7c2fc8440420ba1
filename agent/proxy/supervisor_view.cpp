// SPDX-License-Identifier: Apache-2.0
// What an operator is shown of the generations that run.
#include <utility>

#include "proxy/supervisor.h"

namespace hawser::proxy {

void Supervisor::note_serving(const char* came_by) {
  const auto& facts = machine_.facts();
  auto& known = known_[facts.generation];
  const bool same = known.pid == facts.pid && facts.pid != 0;
  if (!same) known = {facts.generation, facts.pid, "serving", {}, loop_.wall(), {}, {}, came_by, {}};
  known.binary_sha256 = facts.binary_sha256;
  known.version = facts.version;
  std::erase_if(known_, [this, &facts](const auto& item) {
    return item.first != facts.generation && retirements_.count(item.first) == 0 &&
           item.first != restarted_.old_generation;
  });
}

void Supervisor::note_retiring(const std::string& generation) {
  auto& known = known_[generation];
  known.generation = generation;
  known.role = "draining";
  known.state = "DRAINING";
  known.since = loop_.wall();
  known.ends_by = known.since + options_.parent_shutdown;
}

std::vector<Supervisor::View> Supervisor::generations() const {
  std::vector<View> out;
  const auto& facts = machine_.facts();
  if (facts.pid != 0) {
    View serving;
    if (const auto known = known_.find(facts.generation); known != known_.end()) serving = known->second;
    serving.generation = facts.generation;
    serving.pid = facts.pid;
    serving.role = live() ? "serving" : "starting";
    serving.state = std::string(phase_name(machine_.phase()));
    serving.since = since_;
    serving.binary_sha256 = facts.binary_sha256;
    serving.version = facts.version;
    out.push_back(std::move(serving));
  }
  if (replacement_) {
    View next;
    next.generation = replacement_->new_name();
    next.role = "starting";
    next.state = "TAKING_OVER";
    next.since = since_;
    out.push_back(std::move(next));
  }
  for (const auto& [name, retirement] : retirements_) {
    const auto known = known_.find(name);
    if (known != known_.end() && name != facts.generation) out.push_back(known->second);
  }
  return out;
}

}  // namespace hawser::proxy
