// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "broker/proxy_args.h"

#include <algorithm>
#include <charconv>

namespace hawser::broker {
namespace {

constexpr std::size_t kMaxArgs = 32;
constexpr std::size_t kMaxText = 512;

enum class Kind { kNumber, kWord, kText };

struct Allowed {
  const char* name;
  Kind kind;
};

constexpr Allowed kAllowed[] = {
    {"--concurrency", Kind::kNumber},
    {"--drain-time-s", Kind::kNumber},
    {"--drain-strategy", Kind::kWord},
    {"--parent-shutdown-time-s", Kind::kNumber},
    {"--file-flush-interval-msec", Kind::kNumber},
    {"--log-level", Kind::kWord},
    {"--component-log-level", Kind::kWord},
    {"--log-format", Kind::kText},
};

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool fits(Kind kind, const std::string& value) {
  if (value.empty() || value.size() > kMaxText) return false;
  switch (kind) {
    case Kind::kNumber:
      return value.size() <= 6 && std::all_of(value.begin(), value.end(), is_digit);
    case Kind::kWord:
      return std::all_of(value.begin(), value.end(), [](char c) {
        return is_digit(c) || (c >= 'a' && c <= 'z') || c == '_' || c == ':' || c == ',';
      });
    case Kind::kText:
      return std::all_of(value.begin(), value.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
  }
  return false;
}

Error bad_argument(const std::string& what) {
  return {
      Code::kInvalidArgument, "HWS-BR-012", "the proxy may not be started with " + what,
      "only --concurrency, --drain-*, --parent-shutdown-time-s, --file-flush-interval-msec and --*log-* may be given"};
}

// A number without leading zeros; moves `text` behind it.
bool take_number(std::string_view& text, unsigned limit, unsigned& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  const auto length = static_cast<std::size_t>(end - text.data());
  if (error != std::errc() || length == 0 || (text[0] == '0' && length > 1) || out > limit) return false;
  text.remove_prefix(length);
  return true;
}

}  // namespace

Result<GenerationName> parse_generation(const std::string& text) {
  GenerationName out;
  std::string_view rest = text;
  const auto take = [&rest](char c) {
    if (rest.empty() || rest.front() != c) return false;
    rest.remove_prefix(1);
    return true;
  };
  if (take('f') && take_number(rest, 99, out.family) && out.family > 0 && take('e') &&
      take_number(rest, 9999, out.epoch) && rest.empty())
    return out;
  return Error(Code::kInvalidArgument, "HWS-BR-011", "\"" + text.substr(0, 32) + "\" is no name of a proxy generation",
               "names are f<family>e<epoch>, like f1e0");
}

Result<std::vector<std::string>> make_proxy_argv(const std::string& binary, const std::string& bootstrap,
                                                 const GenerationName& name, const std::vector<std::string>& extra) {
  std::vector<std::string> argv{binary,
                                "-c",
                                bootstrap,
                                "--base-id",
                                std::to_string(name.base_id()),
                                "--restart-epoch",
                                std::to_string(name.epoch)};
  if (extra.size() > kMaxArgs) return bad_argument(std::to_string(extra.size()) + " arguments");
  for (std::size_t i = 0; i < extra.size(); ++i) {
    const auto equals = extra[i].find('=');
    const std::string option = extra[i].substr(0, equals);
    const auto* allowed = std::find_if(std::begin(kAllowed), std::end(kAllowed),
                                       [&option](const Allowed& item) { return option == item.name; });
    if (allowed == std::end(kAllowed)) return bad_argument("\"" + option.substr(0, 64) + "\"");
    std::string value;
    if (equals != std::string::npos)
      value = extra[i].substr(equals + 1);
    else if (i + 1 < extra.size())
      value = extra[++i];
    if (!fits(allowed->kind, value)) return bad_argument(option + " \"" + value.substr(0, 64) + "\"");
    argv.push_back(option);
    argv.push_back(value);
  }
  return argv;
}

std::string shared_memory_name(const GenerationName& name) {
  return "envoy_shared_memory_" + std::to_string(name.base_id() * 10);
}

}  // namespace hawser::broker
