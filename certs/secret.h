// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>

namespace hawser::certs {

// Overwrites the bytes in a way that the compiler keeps, then empties the text.
void wipe(std::string& text);

// What: text that must not stay in memory, nor be formatted: a key or a token. Move-only; wiped when it dies.
// Threading: a value. Failure: none.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string text) : text_(std::move(text)) {}
  Secret(Secret&& other) noexcept : text_(std::exchange(other.text_, {})) {}
  Secret& operator=(Secret&& other) noexcept;
  ~Secret() { wipe(text_); }

  bool empty() const { return text_.empty(); }
  const std::string& reveal() const { return text_; }

 private:
  std::string text_;
};

}  // namespace hawser::certs
