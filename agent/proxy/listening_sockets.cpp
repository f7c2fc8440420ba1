// SPDX-License-Identifier: Apache-2.0
#include "proxy/listening_sockets.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <array>

#include "proxy/sock_diag.h"

namespace hawser::proxy {
namespace {

constexpr std::size_t kMaxEndpoints = 65536;

}  // namespace

Result<std::vector<ListeningEndpoint>> observe_listening() {
  std::vector<ListeningEndpoint> out;
  auto seen = visit_tcp({.states = 1U << TCP_LISTEN}, [&out](const inet_diag_msg& entry, const nlmsghdr&) {
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (inet_ntop(entry.idiag_family, entry.id.idiag_src, text.data(), text.size()) == nullptr) return;
    if (out.size() < kMaxEndpoints) out.push_back({text.data(), ntohs(entry.id.idiag_sport)});
  });
  if (!seen) return seen.error();
  return out;
}

}  // namespace hawser::proxy
