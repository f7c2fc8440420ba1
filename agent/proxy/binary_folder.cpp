// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "proxy/binary_folder.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/file.h"

namespace hawser::proxy {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxRecord = 256U << 10U;  // names of 900 extensions take 50 KiB
constexpr std::size_t kMaxReason = 2000;
constexpr mode_t kReadable = 0644;

const char* name_of(BinaryLink link) {
  switch (link) {
    case BinaryLink::kPrevious:
      return "/previous";
    case BinaryLink::kLastGood:
      return "/last-good";
    case BinaryLink::kCurrent:
      break;
  }
  return "/current";
}

Error no_such(const std::string& path) {
  return {Code::kNotFound, "HWS-BR-030", "no such proxy binary: " + path, "`hawser proxy list` tells those there are"};
}

}  // namespace

bool is_sha256(const std::string& text) {
  return text.size() == 64 &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

std::vector<std::string> BinaryFolder::list() const {
  std::vector<std::string> out;
  std::error_code error;
  for (std::filesystem::directory_iterator at(folder_, error), end; !error && at != end; at.increment(error))
    if (auto name = at->path().filename().string(); has(name)) out.push_back(std::move(name));
  std::sort(out.begin(), out.end());
  return out;
}

bool BinaryFolder::has(const std::string& sha256) const {
  return is_sha256(sha256) && file::exists(program_of(sha256));
}

std::string BinaryFolder::target(BinaryLink link) const {
  char text[256] = {};
  const ssize_t n = ::readlink((folder_ + name_of(link)).c_str(), text, sizeof text - 1);
  if (n < 0) return {};
  std::string name(text, static_cast<std::size_t>(n));
  if (const auto slash = name.rfind('/'); slash != std::string::npos) name.erase(0, slash + 1);
  return is_sha256(name) ? name : std::string();
}

Status BinaryFolder::point(BinaryLink link, const std::string& sha256) const {
  if (!has(sha256)) return no_such(program_of(sha256));
  if (target(link) == sha256) return {};
  return file::link_atomic(sha256, folder_ + name_of(link));
}

Status BinaryFolder::unlink(BinaryLink link) const {
  return file::remove_durable(folder_ + name_of(link));
}

std::optional<Quarantine> BinaryFolder::quarantine(const std::string& sha256) const {
  const std::string path = quarantine_path(sha256);
  if (!is_sha256(sha256) || !file::exists(path)) return std::nullopt;
  const auto text = file::read_bounded(path, kMaxRecord);
  json read = text ? json::parse(*text, nullptr, false) : json();
  Quarantine out{"quarantine.json can't be read", 0, "unknown"};
  if (!read.is_object()) return out;
  if (const auto& value = read["reason"]; value.is_string()) out.reason = value.get<std::string>();
  if (const auto& value = read["since"]; value.is_number_integer()) out.since = value.get<std::int64_t>();
  if (const auto& value = read["by"]; value.is_string()) out.by = value.get<std::string>();
  return out;
}

Status BinaryFolder::set_quarantine(const std::string& sha256, const Quarantine& quarantine) const {
  if (!has(sha256)) return no_such(program_of(sha256));
  const json out = {
      {"reason", quarantine.reason.substr(0, kMaxReason)}, {"since", quarantine.since}, {"by", quarantine.by}};
  // A reason may quote a program's own words.
  return file::write_atomic(quarantine_path(sha256), out.dump(2, ' ', false, json::error_handler_t::replace) + "\n",
                            kReadable);
}

Status BinaryFolder::lift_quarantine(const std::string& sha256) const {
  return file::remove_durable(quarantine_path(sha256));
}

json BinaryFolder::record(const std::string& sha256) const {
  const std::string path = folder_of(sha256) + "/binary.json";
  if (!file::exists(path)) return nullptr;
  const auto text = file::read_bounded(path, kMaxRecord);
  json out = text ? json::parse(*text, nullptr, false) : json();
  return out.is_object() ? out : json();
}

}  // namespace hawser::proxy
