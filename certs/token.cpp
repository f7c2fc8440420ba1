// SPDX-License-Identifier: Apache-2.0
#include "certs/token.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

#include "certs/utc.h"

namespace hawser::certs {
namespace {

constexpr std::size_t kMaxClaims = 64 * 1024;

int sextet(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '-') return 62;
  return c == '_' ? 63 : -1;
}

// RFC 7515: base64url without padding.
std::optional<std::string> base64url(std::string_view text) {
  std::string out;
  unsigned buffer = 0;
  int bits = 0;
  for (const char c : text) {
    const int value = sextet(c);
    if (value < 0) return std::nullopt;
    buffer = (buffer << 6U | static_cast<unsigned>(value)) & 0xffffU;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    out += static_cast<char>(buffer >> static_cast<unsigned>(bits) & 0xffU);
  }
  return out;
}

// RFC 7519's NumericDate may have a fraction.
std::optional<Loop::Wall> time_in(const nlohmann::json& claims, const char* name) {
  const auto found = claims.find(name);
  if (found == claims.end() || !found->is_number()) return std::nullopt;
  constexpr double kFarthest = 9e15;
  const double seconds = found->get<double>();
  if (!(seconds > -kFarthest && seconds < kFarthest)) return std::nullopt;
  return wall_of(static_cast<std::int64_t>(seconds));
}

std::string text_in(const nlohmann::json& claims, const char* name) {
  const auto found = claims.find(name);
  return found != claims.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::vector<std::string> audiences_in(const nlohmann::json& claims) {
  const auto found = claims.find("aud");
  if (found == claims.end()) return {};
  if (found->is_string()) return {found->get<std::string>()};
  std::vector<std::string> out;
  if (found->is_array())
    for (const auto& item : *found)
      if (item.is_string()) out.push_back(item.get<std::string>());
  return out;
}

}  // namespace

std::optional<Claims> token_claims(std::string_view jwt) {
  const auto first = jwt.find('.');
  if (first == std::string_view::npos) return std::nullopt;
  const auto second = jwt.find('.', first + 1);
  if (second == std::string_view::npos || second - first > kMaxClaims) return std::nullopt;
  const auto body = base64url(jwt.substr(first + 1, second - first - 1));
  if (!body) return std::nullopt;
  const auto claims = nlohmann::json::parse(*body, nullptr, false);
  if (!claims.is_object()) return std::nullopt;
  return Claims{text_in(claims, "iss"), text_in(claims, "sub"), audiences_in(claims), time_in(claims, "iat"),
                time_in(claims, "exp")};
}

std::optional<Token> parse_token(std::string text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
  const auto visible = [](char c) { return c > ' ' && c < '\x7f'; };
  Secret read(std::move(text));
  const std::string_view all = read.reveal();
  const auto first = std::find_if_not(all.begin(), all.end(), blank);
  const auto last = std::find_if_not(all.rbegin(), std::make_reverse_iterator(first), blank).base();
  if (first == last || !std::all_of(first, last, visible)) return std::nullopt;
  Token token;
  token.text = Secret::copy_of({first, last});
  token.expires = token_expiry(token.text.reveal());
  return token;
}

std::optional<Loop::Wall> token_expiry(std::string_view jwt) {
  const auto claims = token_claims(jwt);
  return claims ? claims->expires : std::nullopt;
}

}  // namespace hawser::certs
