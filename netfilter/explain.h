// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "netfilter/evaluate.h"

// What: plans and what they do to a packet, for people: what happens, by which rule, why that rule exists, and on what
// it depends. Pure. Threading: none of its own. Failure: none.
namespace hawser::netfilter {

// Why there are such rules: one sentence.
const char* reason(Purpose purpose);

struct Explanation {
  struct By {
    std::size_t number = 0;  // of the rule, from 1, as plan_text() has it
    std::string purpose;
    std::string rule;  // one line
    std::string why;
  };
  // Another result, for a packet that differs in its owner or its interface.
  struct Otherwise {
    std::string condition;  // "the owner's uid is 881 or 882"
    std::string outcome;
    By by;
  };
  Outcome result;
  std::string packet;   // "out tcp 10.0.0.1:50000 → 10.0.0.2:80, uid 1000"
  std::string outcome;  // "redirected to port 15001, the proxy's outbound listener"
  std::optional<By> by;
  std::vector<std::string> on_its_way;  // what rules changed before that
  std::vector<Otherwise> otherwise;
};

Explanation explain(const Plan& plan, const Packet& packet);
std::string to_text(const Explanation& explanation);

// All rules with their numbers, by hook, below a line that sums the plan up.
std::string plan_text(const Plan& plan);
// A line a rule, as to_string(Rule) has it, in the order of the hooks.
std::vector<std::string> rule_lines(const Plan& plan);
// What lines go ("-") and come ("+") on the way from one plan to another, among up to three that stay; empty: none.
std::string diff_text(const std::vector<std::string>& before, const std::vector<std::string>& after);

}  // namespace hawser::netfilter
