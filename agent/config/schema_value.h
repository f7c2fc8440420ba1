// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "config/value.h"

// What: how the schema's files read a scalar into a member: each makes the function that MapReader::scalar() wants.
// Threading: none. Failure: HWS-CF-004 without position; the reader adds it.
namespace hawser::config {

template <typename T>
auto set(T& out, Result<T> (*parse)(const std::string&)) {
  return [&out, parse](const std::string& text) -> Status {
    auto value = parse(text);
    if (!value) return value.error();
    out = *value;
    return {};
  };
}

inline auto millis(Millis& out) {
  return set<Millis>(out, parse_duration);
}

inline auto seconds(std::chrono::seconds& out) {
  return [&out](const std::string& text) -> Status {
    auto value = parse_duration(text);
    if (!value) return value.error();
    if (value->count() % 1000 != 0)
      return Error(Code::kInvalidArgument, "HWS-CF-004", "'" + text + "' must be whole seconds");
    out = std::chrono::duration_cast<std::chrono::seconds>(*value);
    return {};
  };
}

inline auto boolean(bool& out) {
  return [&out](const std::string& text) -> Status {
    if (text != "true" && text != "false")
      return Error(Code::kInvalidArgument, "HWS-CF-004", "'" + text + "' is not true or false");
    out = text == "true";
    return {};
  };
}

inline auto number(unsigned& out, unsigned low, unsigned high) {
  return [&out, low, high](const std::string& text) -> Status {
    std::size_t used = 0;
    unsigned long value = 0;
    try {
      value = std::stoul(text, &used);
    } catch (const std::exception&) {
      used = 0;
    }
    if (used == 0 || used != text.size() || text[0] == '-' || value < low || value > high)
      return Error(Code::kInvalidArgument, "HWS-CF-004",
                   "'" + text + "' is not a number from " + std::to_string(low) + " to " + std::to_string(high));
    out = static_cast<unsigned>(value);
    return {};
  };
}

inline auto choice(const std::vector<std::string>& words, const std::function<void(std::size_t)>& pick) {
  return [words, pick](const std::string& text) -> Status {
    std::string all;
    for (std::size_t i = 0; i < words.size(); ++i) {
      if (words[i] == text) {
        pick(i);
        return {};
      }
      all += (i == 0 ? "" : ", ") + words[i];
    }
    return Error(Code::kInvalidArgument, "HWS-CF-004", "'" + text + "' is not one of " + all);
  };
}

}  // namespace hawser::config
