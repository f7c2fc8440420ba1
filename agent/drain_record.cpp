// SPDX-License-Identifier: Apache-2.0
#include "drain_record.h"

#include <nlohmann/json.hpp>

#include "base/file.h"

namespace hawser {
namespace {

using nlohmann::json;

constexpr std::size_t kMost = 4096;
constexpr mode_t kMode = 0600;

Error unreadable(const std::string& path, const std::string& why) {
  return {Code::kDataLoss, "HWS-DR-002", "what is kept of a drain can't be read (" + path + "): " + why,
          "the host is in the mesh's choice; `hawser drain` again if it's to be out of it"};
}

}  // namespace

const char* drain_stage_name(DrainStage stage) {
  switch (stage) {
    case DrainStage::kNone:
      return "none";
    case DrainStage::kWithdrawn:
      return "withdrawn";
    case DrainStage::kListeners:
      return "listeners";
  }
  return "none";
}

Result<DrainRecord> DrainRecord::load(const std::string& path, const std::string& boot) {
  if (!file::exists(path)) return DrainRecord{};
  auto text = file::read_bounded(path, kMost);
  if (!text) return unreadable(path, text.error().message());
  const json document = json::parse(*text, nullptr, false);
  if (!document.is_object()) return unreadable(path, "it isn't JSON");
  const auto number = [&document](const char* key) -> std::int64_t {
    const auto found = document.find(key);
    return found != document.end() && found->is_number_integer() ? found->get<std::int64_t>() : 0;
  };
  const auto text_of = [&document](const char* key) -> std::string {
    const auto found = document.find(key);
    return found != document.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  DrainRecord out;
  const std::string stage = text_of("stage");
  for (const auto known : {DrainStage::kWithdrawn, DrainStage::kListeners})
    if (stage == drain_stage_name(known)) out.stage = known;
  if (out.stage == DrainStage::kNone) return unreadable(path, "the stage '" + stage.substr(0, 40) + "' isn't known");
  out.since_ms = number("since_ms");
  out.boot = text_of("boot_id");
  out.drained_boot = text_of("drained_boot_id");
  if (out.drained_boot == boot) out.drained = static_cast<pid_t>(number("drained_pid"));
  if (!out.boot.empty() && out.boot != boot) return DrainRecord{};
  return out;
}

Status DrainRecord::save(const std::string& path) const {
  if (stage == DrainStage::kNone) return file::remove_durable(path);
  const json document = {{"stage", drain_stage_name(stage)},
                         {"since_ms", since_ms},
                         {"boot_id", boot},
                         {"drained_pid", drained},
                         {"drained_boot_id", drained_boot}};
  return file::write_atomic(path, document.dump() + "\n", kMode);
}

}  // namespace hawser
