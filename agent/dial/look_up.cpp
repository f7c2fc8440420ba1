// SPDX-License-Identifier: Apache-2.0
#include "dial/look_up.h"

#include <netdb.h>
#include <resolv.h>

#include <algorithm>
#include <array>
#include <memory>

namespace hawser::dial {

Result<std::vector<std::string>> look_up(const std::string& host) {
  // The thread's own resolver. Reading the configuration again sees a changed name server; the bounds come after it.
  if (res_init() == 0) {
    _res.retrans = 2;
    _res.retry = 2;
  }
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int rc = getaddrinfo(host.c_str(), nullptr, &hints, &found); rc != 0)
    return Error(Code::kUnavailable, "HWS-DL-002", "'" + host + "' can't be looked up: " + gai_strerror(rc),
                 "set control_plane.dial or control_plane.addresses to addresses, or mend the host's name service");
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> guard(found, freeaddrinfo);
  std::vector<std::string> out;
  for (const addrinfo* item = found; item != nullptr; item = item->ai_next) {
    std::array<char, NI_MAXHOST> text{};
    if (getnameinfo(item->ai_addr, item->ai_addrlen, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST) != 0)
      continue;
    if (std::find(out.begin(), out.end(), text.data()) == out.end()) out.emplace_back(text.data());
  }
  return out;
}

}  // namespace hawser::dial
