// SPDX-License-Identifier: Apache-2.0
#include "bootstrap/cluster_env.h"

#include <cctype>
#include <sstream>
#include <string_view>

namespace hawser::bootstrap {
namespace {

constexpr std::string_view kBlank = " \t\r";

Error refused(std::string message) {
  return {Code::kInvalidArgument, "HWS-ON-005", std::move(message), "write KEY='value', as istioctl does"};
}

std::string_view trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(kBlank);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlank) - begin + 1);
}

bool is_name(std::string_view name) {
  if (name.empty() || std::isdigit(static_cast<unsigned char>(name[0])) != 0) return false;
  for (const char c : name)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '_') return false;
  return true;
}

// One value, until its end or a comment.
class Value {
 public:
  explicit Value(std::string_view raw) : raw_(raw) {}

  Status read() {
    while (at_ < raw_.size()) {
      const char c = raw_[at_];
      if (kBlank.find(c) != std::string_view::npos) return end();
      Status status = c == '\'' ? single_quoted() : c == '"' ? double_quoted() : plain(c);
      if (!status) return status;
    }
    return {};
  }
  std::string take() { return std::move(out_); }

 private:
  static Status open_quote() { return refused("a quote isn't closed"); }
  static Status expansion() { return refused("a shell would expand this value, which isn't done here"); }

  Status single_quoted() {
    const auto close = raw_.find('\'', at_ + 1);
    if (close == std::string_view::npos) return open_quote();
    out_ += raw_.substr(at_ + 1, close - at_ - 1);
    at_ = close + 1;
    return {};
  }

  Status double_quoted() {
    for (++at_; at_ < raw_.size(); ++at_) {
      const char c = raw_[at_];
      if (c == '"') {
        ++at_;
        return {};
      }
      if (c == '$' || c == '`') return expansion();
      // Within double quotes a backslash only escapes these.
      const bool escape = c == '\\' && at_ + 1 < raw_.size() &&
                          std::string_view("\"\\$`").find(raw_[at_ + 1]) != std::string_view::npos;
      if (escape) ++at_;
      out_ += raw_[at_];
    }
    return open_quote();
  }

  Status plain(char c) {
    if (c == '$' || c == '`') return expansion();
    if (std::string_view(";&|<>()").find(c) != std::string_view::npos) return refused("this is a command, not a value");
    if (c == '\\' && at_ + 1 < raw_.size()) ++at_;
    out_ += raw_[at_++];
    return {};
  }

  Status end() {
    const auto rest = trimmed(raw_.substr(at_));
    at_ = raw_.size();
    if (rest.empty() || rest[0] == '#') return {};
    return refused("'" + std::string(rest) + "' follows the value");
  }

  std::string_view raw_;
  std::size_t at_ = 0;
  std::string out_;
};

Status parse_line(std::string_view line, std::map<std::string, std::string>& out) {
  constexpr std::string_view kExport = "export ";
  if (line.substr(0, kExport.size()) == kExport) line = trimmed(line.substr(kExport.size()));
  const auto equals = line.find('=');
  if (equals == std::string_view::npos || !is_name(line.substr(0, equals)))
    return refused("'" + std::string(line.substr(0, 60)) + "' is no KEY='value'");
  Value value(line.substr(equals + 1));
  if (auto read = value.read(); !read) return read;
  out[std::string(line.substr(0, equals))] = value.take();
  return {};
}

}  // namespace

Result<std::map<std::string, std::string>> parse_cluster_env(const std::string& text, const std::string& path) {
  std::map<std::string, std::string> out;
  std::istringstream lines(text);
  std::string raw;
  for (int number = 1; std::getline(lines, raw); ++number) {
    const auto line = trimmed(raw);
    if (line.empty() || line[0] == '#') continue;
    if (auto parsed = parse_line(line, out); !parsed) return parsed.error().at(path + ":" + std::to_string(number));
  }
  return out;
}

}  // namespace hawser::bootstrap
