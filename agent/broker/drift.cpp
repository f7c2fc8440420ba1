// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "broker/drift.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <sstream>

#include "base/log.h"

namespace hawser::broker {
namespace {

constexpr std::string_view kOurTables = "hawser";
constexpr std::size_t kLinesTold = 3;
constexpr std::size_t kLineTold = 120;

bool ours(const netfilter::Change& change) {
  if (change.lost) return true;
  return std::any_of(change.tables.begin(), change.tables.end(),
                     [](const std::string& table) { return table.rfind(kOurTables, 0) == 0; });
}

std::string trimmed(const std::string& line) {
  const auto first = line.find_first_not_of(" \t");
  return first == std::string::npos ? std::string() : line.substr(first);
}

std::size_t digits_end(const std::string& text, std::size_t at) {
  while (at < text.size() && std::isdigit(static_cast<unsigned char>(text[at])) != 0) ++at;
  return at;
}

// "packets 3 bytes 180", wherever it stands.
void strip_counters(std::string& line) {
  constexpr std::string_view kPackets = "packets ";
  constexpr std::string_view kBytes = " bytes ";
  for (auto at = line.find(kPackets); at != std::string::npos; at = line.find(kPackets, at + 1)) {
    const auto bytes = digits_end(line, at + kPackets.size());
    if (line.compare(bytes, kBytes.size(), kBytes) != 0) continue;
    line.erase(at, digits_end(line, bytes + kBytes.size()) - at);
  }
}

std::string told(const std::map<std::string, int>& lines, int sign, const std::string& word) {
  std::string out;
  std::size_t count = 0;
  for (const auto& [line, times] : lines) {
    if (times * sign <= 0 || line.size() < 2) continue;  // a brace says nothing
    if (++count <= kLinesTold) out += (out.empty() ? word + ": " : " | ") + line.substr(0, kLineTold);
  }
  if (count > kLinesTold) out += " | and " + std::to_string(count - kLinesTold) + " more";
  return out;
}

}  // namespace

std::string shape_of(const netfilter::Observation& seen) {
  std::string out = std::string(seen.rules ? "rules" : "no rules") + (seen.anchor ? ", anchor, " : ", no anchor, ") +
                    seen.listing.digest + "\n";
  if (!seen.shape.empty()) return out + seen.shape;
  std::istringstream lines(seen.text);
  std::string line;
  while (std::getline(lines, line)) {
    strip_counters(line);
    out += line + "\n";
  }
  return out;
}

std::string difference(const std::string& before, const std::string& now) {
  std::map<std::string, int> lines;
  const auto count = [&lines](const std::string& text, int step) {
    std::istringstream in(text);
    std::string line;
    while (std::getline(in, line)) lines[trimmed(line)] += step;
  };
  count(before, -1);
  count(now, 1);
  const std::string gone = told(lines, -1, "gone");
  const std::string come = told(lines, 1, "new");
  return gone + (gone.empty() || come.empty() ? "" : "; ") + come;
}

Drift::Drift(Loop& loop, Options options, Actions actions)
    : loop_(loop), options_(options), actions_(std::move(actions)) {}

void Drift::expect(std::string shape) {
  expected_ = std::move(shape);
  seen_.clear();
  program_.clear();
  timer_.reset();
  look_within(options_.poll);
}

void Drift::rest() {
  expected_.reset();
  timer_.reset();
  view_.backing_off = false;
}

void Drift::heard(const std::vector<netfilter::Change>& changes, std::uint32_t own) {
  if (!expected_) return;
  bool others = false;
  for (const auto& change : changes) {
    const bool mine = own != 0 && change.port_id == own && !change.lost;
    if (mine || !ours(change)) continue;
    others = true;
    if (!change.program.empty()) program_ = change.program;
  }
  if (others) look_within(options_.settle);
}

// Never later than what is planned already: a stream of events must not put the look off.
void Drift::look_within(Loop::Duration time) {
  const auto when = loop_.now() + time;
  if (timer_ && next_look_ <= when) return;
  next_look_ = when;
  timer_ = loop_.after(time, [this] {
    timer_.reset();
    look();
  });
}

void Drift::look() {
  if (!expected_) return;
  const auto now = actions_.look();
  if (!now) {
    log::warn("the rules can't be looked at", {{"error", now.error().to_string()}});
  } else if (*now != *expected_) {
    note(*now);
    return heal();
  } else {
    forget_old_repairs();
  }
  look_within(options_.poll);
}

void Drift::note(const std::string& shape) {
  if (shape == seen_) return;  // it waits to be healed
  seen_ = shape;
  ++view_.found;
  view_.found_at = loop_.wall();
  view_.program = program_;
  view_.what = difference(*expected_, shape);
  log::warn("another program changed the rules",
            {{"program", program_.empty() ? "unknown" : program_}, {"changed", view_.what}});
}

void Drift::forget_old_repairs() {
  if (loop_.now() - last_repair_ <= options_.calm + wait_) return;
  repairs_ = 0;
  wait_ = {};
  view_.backing_off = false;
}

void Drift::heal() {
  const auto now = loop_.now();
  if (now < not_before_) return look_within(not_before_ - now);
  forget_old_repairs();
  last_repair_ = now;
  ++repairs_;
  const auto healed = actions_.heal();
  if (healed) {
    ++view_.healed;
    log::info("the rules are healed", {{"times", std::to_string(view_.healed)}});
  } else {
    ++view_.failed;
    log::error("the rules can't be healed", {{"error", healed.error().to_string()}});
  }
  if (repairs_ >= options_.burst) give_way();
  if (!healed) look_within(std::max<Loop::Duration>(wait_, options_.first_wait));
}

void Drift::give_way() {
  wait_ = std::clamp<Loop::Duration>(2 * wait_, options_.first_wait, options_.longest_wait);
  not_before_ = loop_.now() + wait_;
  view_.backing_off = true;
  const Error error(Code::kAborted, "HWS-BR-034", "the rules are changed again and again; the next repair waits",
                    "stop the program that changes table inet hawser");
  log::error(error.to_string(),
             {{"program", view_.program}, {"seconds", std::to_string(wait_ / std::chrono::seconds(1))}});
}

}  // namespace hawser::broker
