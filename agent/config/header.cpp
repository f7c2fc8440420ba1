// SPDX-License-Identifier: Apache-2.0
#include "config/header.h"

#include <algorithm>
#include <set>

#include "config/value.h"

namespace hawser::config {
namespace {

constexpr std::size_t kMaxName = 128;
constexpr std::size_t kMaxValue = 4096;

bool is_name(const std::string& name) {
  return !name.empty() && name.size() <= kMaxName && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  });
}

bool is_ours(const std::string& name) {
  static const std::set<std::string> kOurs = {"authorization", "clusterid", "x-goog-request-params"};
  static const std::set<std::string> kTransport = {"connection",        "content-length",   "content-type", "host",
                                                   "keep-alive",        "proxy-connection", "te",           "trailer",
                                                   "transfer-encoding", "upgrade",          "user-agent"};
  return kOurs.contains(name) || kTransport.contains(name) || name.starts_with("grpc-");
}

}  // namespace

Status check_header(const std::string& name, const std::string& value) {
  if (!is_name(name))
    return bad("'" + name + "' is no header's name", "use letters, digits, '-', '_' and '.', 128 at most");
  if (is_ours(name)) return bad("the header '" + name + "' is Hawser's own", "leave it out");
  if (name.ends_with("-bin")) return bad("'" + name + "' is a binary header", "choose a name that doesn't end in -bin");
  const bool printable = std::all_of(value.begin(), value.end(), [](unsigned char c) { return c >= 0x20 && c < 0x7f; });
  if (!printable || value.size() > kMaxValue)
    return bad("the value of '" + name + "' can't be sent", "printable ASCII, 4096 characters at most");
  return {};
}

std::string lower_case(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return text;
}

}  // namespace hawser::config
