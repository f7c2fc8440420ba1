// SPDX-License-Identifier: Apache-2.0
#include "proxy/proxy_words.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace hawser::proxy {

// %j is the message with JSON's escapes; the other parts never need any.
const char* const kJsonLogFormat =
    R"({"time":"%Y-%m-%dT%T.%e%z","level":"%l","logger":"%n","thread":%t,"source":"%g:%#","message":"%j"})";

std::string proxy_words(const std::string& output) {
  std::string out;
  std::size_t begin = 0;
  while (begin < output.size()) {
    const auto end = std::min(output.find('\n', begin), output.size());
    std::string line = output.substr(begin, end - begin);
    begin = end + 1;
    const auto parsed = nlohmann::json::parse(line, nullptr, false);
    if (parsed.is_object())
      if (const auto said = parsed.find("message"); said != parsed.end() && said->is_string())
        line = said->get<std::string>();
    if (!out.empty()) out.push_back('\n');
    out += line;
  }
  return out;
}

}  // namespace hawser::proxy
