// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace hawser::certs {

// Overwrites the bytes in a way that the compiler keeps, then empties the text.
void wipe(std::string& text);

// What: text that must not stay in memory, nor be formatted, nor be in a core dump: a key or a token. It lies in pages
// of its own, which the kernel leaves out of core files (madvise(2), MADV_DONTDUMP). Move-only; wiped when it dies.
// What reveal() is copied into is the caller's to wipe. Threading: a value. Failure: none; no memory ends the program.
class Secret {
 public:
  Secret() = default;
  // Takes a copy, and wipes what it was given.
  explicit Secret(std::string text);
  static Secret copy_of(std::string_view text);
  Secret(Secret&& other) noexcept;
  Secret& operator=(Secret&& other) noexcept;
  ~Secret() { clear(); }

  bool empty() const { return size_ == 0; }
  std::size_t size() const { return size_; }
  std::string_view reveal() const { return {pages_, size_}; }
  friend bool operator==(const Secret& a, const Secret& b) { return a.reveal() == b.reveal(); }

 private:
  void clear();

  char* pages_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace hawser::certs
