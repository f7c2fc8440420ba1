// SPDX-License-Identifier: Apache-2.0
// How the counters outlive hawserd: each part is an exposition again, so that one reader does for both.
//
//   # hawser counters 1 BOOT
//   # part ended | # part GENERATION PID
//   # TYPE … and samples that count something
//   # end
#include <algorithm>
#include <charconv>

#include "proxy/counters.h"
#include "proxy/exposition.h"

namespace hawser::proxy {
namespace {

constexpr std::string_view kHead = "# hawser counters 1 ";
constexpr std::string_view kPart = "# part ";
constexpr std::string_view kEnd = "# end";
constexpr std::string_view kEnded = "ended";

void append_sample(std::string& out, const std::string& key, double value) {
  char text[40];
  const auto end = std::to_chars(text, text + sizeof(text), value).ptr;
  out.append(key).push_back(' ');
  out.append(text, static_cast<std::size_t>(end - text)).push_back('\n');
}

Error damaged(const std::string& what) {
  return {Code::kDataLoss, "HWS-PX-060", "the kept counters of the proxy are damaged: " + what,
          "none; counting begins anew, and scrapers see a reset"};
}

// The text up to the next part or the end; `text` begins there then.
std::string_view take_part(std::string_view& text) {
  const std::string_view all = text;
  while (!text.empty()) {
    std::string_view rest = text;
    const auto line = exposition::take_line(rest);
    if (line.starts_with(kPart) || line == kEnd) break;
    text = rest;
  }
  return all.substr(0, all.size() - text.size());
}

}  // namespace

std::string Counters::save(const std::string& boot) const {
  std::string out(kHead);
  out.append(boot).push_back('\n');
  const auto part = [this, &out](const auto& value_of) {
    for (const auto& family : families_) {
      if (!adds_up(family.kind)) continue;
      bool typed = false;
      for (const auto index : family.series) {
        const double value = value_of(series_[index]);
        if (value == 0) continue;
        if (!std::exchange(typed, true))
          out.append("# TYPE ")
              .append(family.name)
              .append(family.kind == Kind::kCounter ? " counter\n" : " histogram\n");
        append_sample(out, series_[index].key, value);
      }
    }
  };
  out.append(kPart).append(kEnded).push_back('\n');
  part([](const Series& series) { return series.ended; });
  for (const auto& slot : slots_) {
    if (!slot.used) continue;
    out.append(kPart).append(slot.generation.name).append(" ").append(std::to_string(slot.generation.pid)) += '\n';
    part([at = slot_index(slot)](const Series& series) { return series.value[at]; });
  }
  out.append(kEnd).push_back('\n');
  return out;
}

Status Counters::restore(std::string_view saved, const std::string& boot) {
  *this = Counters();
  const auto head = exposition::take_line(saved);
  if (!head.starts_with(kHead)) return damaged("no head");
  if (head.substr(kHead.size()) != boot) return {};
  std::vector<Generation> now;
  while (true) {
    const auto line = exposition::take_line(saved);
    if (line == kEnd) return {};
    if (!line.starts_with(kPart)) break;
    auto title = line.substr(kPart.size());
    Generation generation;
    generation.name = title.substr(0, title.find(' '));
    title.remove_prefix(std::min(title.size(), generation.name.size() + 1));
    const bool past = generation.name == kEnded;
    const bool numbered = std::from_chars(title.data(), title.data() + title.size(), generation.pid).ec == std::errc();
    if (past == numbered || now.size() >= kMaxRunning) break;
    now.push_back(generation);
    begin_round(now);
    take(generation.name, take_part(saved));
    if (!past) continue;
    now.pop_back();
    begin_round(now);
  }
  *this = Counters();
  return damaged("it ends in the middle, or isn't written by hawserd");
}

}  // namespace hawser::proxy
