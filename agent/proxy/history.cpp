// SPDX-License-Identifier: Apache-2.0
#include "proxy/history.h"

#include <cstdio>
#include <utility>

#include "base/file.h"
#include "base/log.h"

namespace hawser::proxy {
namespace {

constexpr std::size_t kMaxFile = std::size_t{1} << 20U;

}  // namespace

History::History(Loop& loop, Storage storage) : loop_(loop), storage_(std::move(storage)) {}
History::~History() = default;

void History::restore() {
  if (storage_.path.empty() || !file::exists(storage_.path)) return;
  const auto text = file::read_bounded(storage_.path, kMaxFile);
  const Status read = text ? parse_history(*text, last_, entries_) : Status(text.error());
  if (read) return;
  log::warn(read.error().to_string());
  const std::string aside = storage_.path + ".damaged";
  if (std::rename(storage_.path.c_str(), aside.c_str()) != 0) log::warn("can't put it aside", {{"path", aside}});
}

void History::add(Entry entry) {
  entry.id = ++last_;
  entry.at = loop_.wall();
  entry.boot = storage_.boot;
  if (entry.reason.size() > kMaxReason) entry.reason.resize(kMaxReason);
  entries_.push_back(std::move(entry));
  if (entries_.size() > kKept) entries_.pop_front();
  save();
}

// One write at a time; what comes meanwhile is in the next one, together.
void History::save() {
  if (storage_.slow == nullptr || storage_.path.empty()) return;
  if (saving_) {
    save_again_ = true;
    return;
  }
  saving_ = true;
  storage_.slow->submit(
      [this, alive = std::weak_ptr(alive_), &loop = loop_, path = storage_.path, text = history_text(last_, entries_)] {
        auto result = file::write_atomic(path, text, 0600);
        loop.post([this, alive, result = std::move(result)] {
          if (alive.expired()) return;
          if (!result) log::warn("the proxy's history isn't kept: " + result.error().to_string());
          saving_ = false;
          if (std::exchange(save_again_, false)) save();
        });
      });
}

void History::forget() {
  if (storage_.slow == nullptr || storage_.path.empty()) return;
  // Behind a write that is under way.
  storage_.slow->submit([path = std::exchange(storage_.path, {})] {
    if (auto removed = file::remove_durable(path); !removed) log::warn(removed.error().to_string());
  });
}

void History::state(const std::string& generation, const std::string& from, const std::string& to,
                    const std::string& reason, const Who& who) {
  Entry entry;
  entry.generation = generation;
  entry.from = from;
  entry.name = to;
  entry.reason = reason;
  entry.pid = who.pid;
  entry.binary_sha256 = who.binary_sha256;
  entry.version = who.version;
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
