// SPDX-License-Identifier: Apache-2.0
#include "import/names.h"

#include <algorithm>
#include <cctype>
#include <sstream>

namespace hawser::import {
namespace {

Error bad(const char* id, std::string message, std::string hint) {
  return {Code::kInvalidArgument, id, std::move(message), std::move(hint)};
}

std::string trimmed(const std::string& text) {
  const auto first = text.find_first_not_of(" \t\r");
  if (first == std::string::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

// 'a b', "a b" or a; a comment may follow.
std::string unquoted(const std::string& text) {
  if (text.empty()) return text;
  if (text.front() == '"' || text.front() == '\'') {
    const auto end = text.find(text.front(), 1);
    return text.substr(1, end == std::string::npos ? end : end - 1);
  }
  const auto comment = text.find(" #");
  return trimmed(text.substr(0, comment));
}

bool is_variable(const std::string& name) {
  return !name.empty() && std::isdigit(static_cast<unsigned char>(name.front())) == 0 &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) != 0 || c == '_'; });
}

const Name* by_variable(const std::vector<Name>& names, const std::string& variable) {
  for (const Name& name : names)
    if (variable == name.variable || variable == name.other_variable) return &name;
  return nullptr;
}

const Name* by_flag(const std::vector<Name>& names, const std::string& flag) {
  for (const Name& name : names)
    if (flag == name.key) return &name;
  return nullptr;
}

const Name* by_letter(const std::vector<Name>& names, char letter) {
  for (const Name& name : names)
    if (letter != 0 && letter == name.letter) return &name;
  return nullptr;
}

// An argument that begins with a dash, taken apart.
struct Flag {
  const Name* name = nullptr;
  std::string shown;
  bool has_value = false;
  std::string value;
};

Flag take_apart(const std::vector<Name>& names, const std::string& argument) {
  Flag out;
  const auto equals = argument.find('=');
  out.has_value = equals != std::string::npos;
  if (out.has_value) out.value = argument.substr(equals + 1);
  out.shown = argument.substr(0, equals);
  if (argument.compare(0, 2, "--") == 0) {
    out.name = by_flag(names, out.shown.substr(2));
    return out;
  }
  out.name = by_letter(names, argument.size() > 1 ? argument[1] : '\0');
  if (out.shown.size() > 2) {  // -p15001
    out.value = argument.substr(2);
    out.has_value = true;
    out.shown = argument.substr(0, 2);
  }
  return out;
}

}  // namespace

Status Values::read_line(const std::vector<Name>& names, std::string line, const std::string& place) {
  line = trimmed(line);
  if (line.compare(0, 7, "export ") == 0) line = trimmed(line.substr(7));
  if (line.empty() || line.front() == '#') return {};
  const auto equals = line.find('=');
  const std::string name = line.substr(0, equals);
  if (equals == std::string::npos || !is_variable(name))
    return bad("HWS-IM-004", "this line sets nothing", "write NAME=VALUE").at(place);
  const Value value{unquoted(line.substr(equals + 1)), place};
  if (const Name* known = by_variable(names, name))
    values_[known->key] = value;
  else
    others_[name] = value;
  return {};
}

Status Values::read_arguments(const std::vector<Name>& names, const std::vector<std::string>& arguments) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i].empty() || arguments[i].front() != '-') {
      words_.push_back(arguments[i]);
      continue;
    }
    Flag flag = take_apart(names, arguments[i]);
    if (flag.name == nullptr)
      return bad("HWS-IM-001", "unknown flag '" + flag.shown + "'", "give the flags as that tool took them");
    if (flag.name->boolean && !flag.has_value) flag.value = "true";
    if (!flag.name->boolean && !flag.has_value) {
      if (i + 1 == arguments.size())
        return bad("HWS-IM-002", flag.shown + " has no value", "add it, or leave the flag out");
      flag.value = arguments[++i];
    }
    values_[flag.name->key] = {flag.value, flag.shown};
  }
  return {};
}

Result<Values> Values::read(const std::vector<Name>& names, const Input& input) {
  Values out;
  std::istringstream lines(input.environment);
  std::string line;
  for (std::size_t number = 1; std::getline(lines, line); ++number)
    if (auto s = out.read_line(names, line, input.environment_name + ":" + std::to_string(number)); !s)
      return s.error();
  if (auto s = out.read_arguments(names, input.arguments); !s) return s.error();
  return out;
}

const Value* Values::find(const std::string& key) const {
  const auto at = values_.find(key);
  return at == values_.end() ? nullptr : &at->second;
}

std::string Values::text(const std::string& key, const std::string& otherwise) const {
  const Value* value = find(key);
  return value == nullptr ? otherwise : value->text;
}

bool Values::yes(const std::string& key) const {
  const std::string value = text(key);
  for (const char* word : {"1", "t", "T", "true", "TRUE", "True"})
    if (value == word) return true;
  return false;
}

std::string Values::place(const std::string& key) const {
  const Value* value = find(key);
  return value == nullptr ? key : value->place;
}

}  // namespace hawser::import
