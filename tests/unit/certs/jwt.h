// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>

#include "base/loop.h"
#include "certs/utc.h"

namespace hawser::certs::test {

// A JWT with these claims (JSON), signed by nobody.
inline std::string jwt(const std::string& claims) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string body;
  unsigned buffer = 0;
  int bits = 0;
  for (const char c : claims) {
    buffer = (buffer << 8U | static_cast<unsigned char>(c)) & 0xffffU;
    for (bits += 8; bits >= 6; bits -= 6) body += kDigits[buffer >> static_cast<unsigned>(bits - 6) & 63U];
  }
  if (bits > 0) body += kDigits[buffer << static_cast<unsigned>(6 - bits) & 63U];
  return "eyJhbGciOiJFUzI1NiJ9." + body + ".c2ln";
}

inline std::string jwt_for(const std::string& audience, Loop::Wall issued, std::chrono::seconds life) {
  return jwt(R"({"aud":")" + audience + R"(","iat":)" + std::to_string(unix_seconds(issued)) + R"(,"exp":)" +
             std::to_string(unix_seconds(issued + life)) + "}");
}

}  // namespace hawser::certs::test
