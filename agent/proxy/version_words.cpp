// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "proxy/version_words.h"

#include <string_view>

namespace hawser::proxy {

VersionWords version_words(const std::string& said) {
  constexpr std::string_view kMark = "version: ";
  const auto mark = said.find(kMark);
  if (mark == std::string::npos) return {};
  const auto first = said.find('/', mark);
  const auto second = first == std::string::npos ? first : said.find('/', first + 1);
  if (second == std::string::npos) return {};
  return {said.substr(mark + kMark.size()), said.substr(first + 1, second - first - 1)};
}

}  // namespace hawser::proxy
