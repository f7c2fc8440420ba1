// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <string>
#include <vector>

#include "netfilter/evaluate.h"
#include "world.h"

// What: what has to be true of every plan and packet, whatever was configured. The plan is given apart, so that one
// that isn't the compiler's can be judged too.
namespace hawser::netfilter::laws {

struct Law {
  const char* name;
  // Why the law is broken; empty: it holds.
  std::string (*broken)(const world::Scenario& scenario, const Plan& plan, const Packet& packet);
};
const std::vector<Law>& all();

// What the configuration calls for, said in another way than the planner does: without rules.
struct Expected {
  Outcome::Kind kind = Outcome::Kind::kLeft;
  std::uint16_t port = 0;
};
Expected expected(const world::Scenario& scenario, const Packet& packet);

}  // namespace hawser::netfilter::laws
