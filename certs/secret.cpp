// SPDX-License-Identifier: Apache-2.0
#include "certs/secret.h"

#include <cstring>

namespace hawser::certs {

void wipe(std::string& text) {
  ::explicit_bzero(text.data(), text.size());
  text.clear();
}

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this == &other) return *this;
  wipe(text_);
  text_ = std::exchange(other.text_, {});
  return *this;
}

}  // namespace hawser::certs
