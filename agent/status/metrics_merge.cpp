// SPDX-License-Identifier: Apache-2.0
#include "status/metrics_merge.h"

#include <algorithm>
#include <unordered_map>

namespace hawser::status {
namespace {

struct Family {
  std::string_view name;
  std::string_view help;  // the whole line
  std::string_view type_line;
  std::string_view type;
  std::vector<std::string_view> samples;
};

bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':';
}
bool is_name(char c) {
  return is_name_start(c) || (c >= '0' && c <= '9');
}
bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

std::string_view skip_blanks(std::string_view text) {
  const auto* begin = std::find_if_not(text.begin(), text.end(), is_blank);
  return text.substr(static_cast<std::size_t>(begin - text.begin()));
}

std::string_view take_word(std::string_view& text) {
  text = skip_blanks(text);
  const auto* end = std::find_if(text.begin(), text.end(), is_blank);
  const auto word = text.substr(0, static_cast<std::size_t>(end - text.begin()));
  text.remove_prefix(word.size());
  return word;
}

std::string_view take_name(std::string_view& text) {
  if (text.empty() || !is_name_start(text.front())) return {};
  const auto* end = std::find_if_not(text.begin(), text.end(), is_name);
  const auto name = text.substr(0, static_cast<std::size_t>(end - text.begin()));
  text.remove_prefix(name.size());
  return name;
}

// Moves `text` behind {…}; false if the braces don't close. A quoted value may hold braces and escaped quotes.
bool skip_labels(std::string_view& text) {
  if (text.empty() || text.front() != '{') return true;
  bool quoted = false;
  for (std::size_t i = 1; i < text.size(); ++i) {
    if (quoted && text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      quoted = !quoted;
    } else if (!quoted && text[i] == '}') {
      text.remove_prefix(i + 1);
      return true;
    }
  }
  return false;
}

// The name, if the line is a sample.
std::string_view sample_name(std::string_view line) {
  const auto name = take_name(line);
  if (name.empty()) return {};
  line = skip_blanks(line);
  if (!skip_labels(line) || take_word(line).empty()) return {};
  return name;
}

std::string_view without_suffix(std::string_view name, std::string_view suffix) {
  return name.size() > suffix.size() && name.substr(name.size() - suffix.size()) == suffix
             ? name.substr(0, name.size() - suffix.size())
             : std::string_view();
}

class Merger {
 public:
  void add(std::string_view part) {
    refused_.clear();
    while (!part.empty()) {
      const auto end = part.find('\n');
      auto line = part.substr(0, end);
      part.remove_prefix(end == std::string_view::npos ? part.size() : end + 1);
      if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
      if (line.empty()) continue;
      if (line.front() == '#')
        comment(line);
      else
        sample(line);
    }
  }

  std::string text() const {
    std::string out;
    for (const auto& family : families_) {
      if (family.samples.empty()) continue;
      for (const auto line : {family.help, family.type_line})
        if (!line.empty()) out.append(line).push_back('\n');
      for (const auto line : family.samples) out.append(line).push_back('\n');
    }
    return out;
  }

 private:
  void comment(std::string_view line) {
    auto rest = line.substr(1);
    const auto keyword = take_word(rest);
    rest = skip_blanks(rest);
    if (keyword != "HELP" && keyword != "TYPE") return;
    const auto name = take_name(rest);
    if (name.empty() || refused_.count(name) != 0) return;
    Family& family = of(name);
    if (keyword == "HELP") {
      if (family.help.empty()) family.help = line;
      return;
    }
    const auto type = take_word(rest);
    if (family.type.empty() && family.samples.empty()) {
      family.type_line = line;
      family.type = type;
    } else if (family.type != type) {
      // An earlier part has the name with another type, or without one, which counts as untyped.
      refused_[name] = type;
    }
  }

  void sample(std::string_view line) {
    const auto name = sample_name(line);
    if (name.empty()) return;
    const auto family = family_of(name);
    if (!family.empty()) of(family).samples.push_back(line);
  }

  // A histogram's and a summary's samples carry suffixes. Empty: refused.
  std::string_view family_of(std::string_view name) const {
    for (const std::string_view suffix : {"_bucket", "_sum", "_count"}) {
      const auto base = without_suffix(name, suffix);
      if (base.empty()) continue;
      if (const auto refused = refused_.find(base); refused != refused_.end() && is_compound(refused->second))
        return {};
      const auto known = index_.find(base);
      if (known != index_.end() && is_compound(families_[known->second].type)) return base;
    }
    return refused_.count(name) != 0 ? std::string_view() : name;
  }

  static bool is_compound(std::string_view type) { return type == "histogram" || type == "summary"; }

  Family& of(std::string_view name) {
    const auto [place, made] = index_.emplace(name, families_.size());
    if (made) families_.push_back({name, {}, {}, {}, {}});
    return families_[place->second];
  }

  std::vector<Family> families_;
  std::unordered_map<std::string_view, std::size_t> index_;
  std::unordered_map<std::string_view, std::string_view> refused_;  // of this part: name → its type there
};

}  // namespace

std::string merge_metrics(const std::vector<std::string_view>& parts) {
  Merger merger;
  for (const auto part : parts) merger.add(part);
  return merger.text();
}

}  // namespace hawser::status
