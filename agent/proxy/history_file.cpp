// SPDX-License-Identifier: Apache-2.0
#include <nlohmann/json.hpp>

#include "proxy/history.h"

namespace hawser::proxy {
namespace {

using nlohmann::json;
using Entry = History::Entry;
constexpr int kVersion = 1;

json to_json(const Entry& entry) {
  using std::chrono::duration_cast;
  using std::chrono::milliseconds;
  return {{"id", entry.id},
          {"at_ms", duration_cast<milliseconds>(entry.at.time_since_epoch()).count()},
          {"gate", entry.kind == Entry::Kind::kGate},
          {"generation", entry.generation},
          {"name", entry.name},
          {"from", entry.from},
          {"passed", entry.passed},
          {"reason", entry.reason},
          {"took_ms", entry.took.count()},
          {"pid", entry.pid},
          {"binary_sha256", entry.binary_sha256},
          {"version", entry.version},
          {"boot", entry.boot}};
}

Entry entry_of(const json& from) {
  Entry out;
  from.at("id").get_to(out.id);
  out.at = Loop::Wall(std::chrono::milliseconds(from.at("at_ms").get<std::int64_t>()));
  out.kind = from.at("gate").get<bool>() ? Entry::Kind::kGate : Entry::Kind::kState;
  from.at("generation").get_to(out.generation);
  from.at("name").get_to(out.name);
  from.at("from").get_to(out.from);
  from.at("passed").get_to(out.passed);
  from.at("reason").get_to(out.reason);
  out.took = std::chrono::milliseconds(from.at("took_ms").get<std::int64_t>());
  from.at("pid").get_to(out.pid);
  from.at("binary_sha256").get_to(out.binary_sha256);
  from.at("version").get_to(out.version);
  from.at("boot").get_to(out.boot);
  return out;
}

}  // namespace

std::string history_text(std::uint64_t last, const std::deque<Entry>& entries) {
  json list = json::array();
  for (const auto& entry : entries) list.push_back(to_json(entry));
  const json all = {{"schema_version", kVersion}, {"last", last}, {"entries", std::move(list)}};
  // Reasons may quote foreign bytes.
  return all.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

Status parse_history(const std::string& text, std::uint64_t& last, std::deque<Entry>& entries) {
  const auto damaged = [](const std::string& what) {
    return Error(Code::kDataLoss, "HWS-PX-061", "the proxy's history on disk is damaged: " + what,
                 "none; it was put aside, and the history begins anew");
  };
  try {
    const json all = json::parse(text);
    if (all.at("schema_version").get<int>() != kVersion) return damaged("written by another release");
    std::deque<Entry> read;
    for (const auto& item : all.at("entries")) {
      read.push_back(entry_of(item));
      if (read.size() > 1 && read.back().id <= read[read.size() - 2].id) return damaged("its entries are out of order");
    }
    const auto known = all.at("last").get<std::uint64_t>();
    if (read.size() > History::kKept || (!read.empty() && read.back().id > known)) return damaged("too many entries");
    last = known;
    entries = std::move(read);
    return {};
  } catch (const json::exception& error) {
    return damaged(error.what());
  }
}

}  // namespace hawser::proxy
