// SPDX-License-Identifier: Apache-2.0
#include "proxy/exposition.h"

#include <charconv>
#include <cmath>

namespace hawser::proxy::exposition {
namespace {

bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':';
}

std::string_view take_name(std::string_view& text) {
  std::size_t end = 0;
  while (end < text.size() && (is_name_start(text[end]) || (end > 0 && text[end] >= '0' && text[end] <= '9'))) ++end;
  const auto name = text.substr(0, end);
  text.remove_prefix(end);
  return name;
}

void skip_blanks(std::string_view& text) {
  const auto begin = text.find_first_not_of(" \t");
  text.remove_prefix(begin == std::string_view::npos ? text.size() : begin);
}

std::string_view take_word(std::string_view& text) {
  skip_blanks(text);
  const auto word = text.substr(0, text.find_first_of(" \t"));
  text.remove_prefix(word.size());
  return word;
}

// Moves `text` behind {…}; a quoted value may hold braces and escaped quotes.
bool skip_labels(std::string_view& text) {
  if (text.empty() || text.front() != '{') return true;
  std::size_t at = 1;
  while (true) {
    at = text.find_first_of("\"}", at);
    if (at == std::string_view::npos) return false;
    if (text[at] == '}') break;
    for (++at; at < text.size() && text[at] != '"'; ++at)
      if (text[at] == '\\') ++at;
    if (at >= text.size()) return false;
    ++at;
  }
  text.remove_prefix(at + 1);
  return true;
}

}  // namespace

std::string_view take_line(std::string_view& text) {
  const auto end = text.find('\n');
  auto line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

std::optional<Sample> parse_sample(std::string_view line) {
  Sample out;
  std::string_view rest = line;
  out.name = take_name(rest);
  if (out.name.empty() || !skip_labels(rest)) return std::nullopt;
  out.key = line.substr(0, line.size() - rest.size());
  if (rest.empty() || (rest.front() != ' ' && rest.front() != '\t')) return std::nullopt;
  const auto number = take_word(rest);
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), out.value);
  if (error != std::errc() || end != number.data() + number.size() || !std::isfinite(out.value)) return std::nullopt;
  return out;
}

std::optional<Type> parse_type(std::string_view line) {
  if (!line.starts_with('#')) return std::nullopt;
  line.remove_prefix(1);
  if (take_word(line) != "TYPE") return std::nullopt;
  skip_blanks(line);
  Type out;
  out.name = take_name(line);
  if (out.name.empty() || line.empty() || (line.front() != ' ' && line.front() != '\t')) return std::nullopt;
  out.type = take_word(line);
  return out;
}

Part part_of(std::string_view sample, std::string_view family) {
  if (!sample.starts_with(family)) return Part::kOther;
  sample.remove_prefix(family.size());
  if (sample.empty()) return Part::kPlain;
  if (sample == "_bucket") return Part::kBucket;
  if (sample == "_sum") return Part::kSum;
  return sample == "_count" ? Part::kCount : Part::kOther;
}

}  // namespace hawser::proxy::exposition
