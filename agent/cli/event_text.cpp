// SPDX-License-Identifier: Apache-2.0
#include "cli/event_text.h"

#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <thread>

#include "cli/admin_call.h"

namespace hawser::cli {
namespace {

using nlohmann::json;

constexpr auto kEvery = std::chrono::milliseconds(500);

std::string padded(std::string text, std::size_t width) {
  if (text.size() < width) text.append(width - text.size(), ' ');
  return text;
}

}  // namespace

std::string history_line(const json& entry) {
  std::string what;
  if (text_in(entry, "kind") == "gate") {
    what = std::string(entry.value("passed", true) ? "passed " : "NOT passed ") + text_in(entry, "name");
    if (const auto took = entry.value("took_ms", -1LL); took >= 0) what += " in " + std::to_string(took) + " ms";
  } else {
    what = text_in(entry, "from") + " > " + text_in(entry, "name");
  }
  std::string line = text_in(entry, "time") + "  " + padded(text_in(entry, "generation"), 6) + "  " + padded(what, 24);
  if (const auto reason = text_in(entry, "reason"); !reason.empty()) line += "  " + reason;
  return line.substr(0, line.find_last_not_of(' ') + 1);
}

std::string health_line(const json& transition) {
  const std::string from = text_in(transition, "from");
  std::string line = text_in(transition, "time") + "  " + padded(text_in(transition, "item"), 16) + "  " +
                     padded((from.empty() ? "" : from + " > ") + text_in(transition, "to"), 20) + "  " +
                     text_in(transition, "detail");
  if (const auto error = text_in(transition, "error"); !error.empty()) line += " [" + error + "]";
  return line;
}

void follow(Context& context, const std::function<Status()>& ask) {
  bool away = false;
  while (true) {
    const auto asked = ask();
    std::fflush(stdout);
    if (!asked && asked.error().code() != Code::kUnavailable && asked.error().code() != Code::kDeadlineExceeded &&
        asked.error().code() != Code::kFailedPrecondition)
      return fail(context, asked.error());
    if (!asked && !away) warn(asked.error().message() + "; waiting for it");
    away = !asked;
    std::this_thread::sleep_for(kEvery);
  }
}

}  // namespace hawser::cli
