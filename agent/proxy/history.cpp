// SPDX-License-Identifier: Apache-2.0
#include "proxy/history.h"

#include <utility>

namespace hawser::proxy {

void History::add(Entry entry) {
  entry.id = ++last_;
  entry.at = loop_.wall();
  entries_.push_back(std::move(entry));
  if (entries_.size() > kKept) entries_.pop_front();
}

void History::state(const std::string& generation, const std::string& from, const std::string& to,
                    const std::string& reason) {
  Entry entry;
  entry.generation = generation;
  entry.from = from;
  entry.name = to;
  entry.reason = reason;
  add(std::move(entry));
}

void History::gate(const std::string& generation, const std::string& name, bool passed, const std::string& reason,
                   std::chrono::milliseconds took) {
  Entry entry;
  entry.kind = Entry::Kind::kGate;
  entry.generation = generation;
  entry.name = name;
  entry.passed = passed;
  entry.reason = reason;
  entry.took = took;
  add(std::move(entry));
}

std::vector<History::Entry> History::after(std::uint64_t id) const {
  std::vector<Entry> found;
  for (const auto& entry : entries_)
    if (entry.id > id) found.push_back(entry);
  return found;
}

}  // namespace hawser::proxy
