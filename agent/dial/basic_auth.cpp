// SPDX-License-Identifier: Apache-2.0
#include "dial/basic_auth.h"

#include <openssl/evp.h>

namespace hawser::dial {

std::string basic_auth(const std::string& user_and_password) {
  std::string text(4 * ((user_and_password.size() + 2) / 3) + 1, '\0');  // OpenSSL writes a NUL at the end
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                   reinterpret_cast<const unsigned char*>(user_and_password.data()),
                                   static_cast<int>(user_and_password.size()));
  text.resize(static_cast<std::size_t>(size));
  return "Basic " + text;
}

std::string proxy_authorization(const Route& route) {
  return route.proxy_password.empty() ? std::string() : basic_auth(route.proxy_password);
}

}  // namespace hawser::dial
