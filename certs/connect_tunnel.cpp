// SPDX-License-Identifier: Apache-2.0
#include "certs/connect_tunnel.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <string_view>

namespace hawser::certs {
namespace {

using Clock = std::chrono::steady_clock;

// A proxy's answer is a few lines; an error may have a page behind it, which nobody reads.
constexpr std::size_t kMostHeader = 16 * 1024;

bool wait_for(int fd, short events, Clock::time_point deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
  pollfd item{fd, events, 0};
  return ::poll(&item, 1, static_cast<int>(std::max<std::int64_t>(0, left))) > 0;
}

bool send_all(int fd, std::string_view text, Clock::time_point deadline) {
  while (!text.empty()) {
    const ssize_t sent = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent > 0) {
      text.remove_prefix(static_cast<std::size_t>(sent));
    } else if ((errno != EAGAIN && errno != EINTR) || !wait_for(fd, POLLOUT, deadline)) {
      return false;
    }
  }
  return true;
}

// "HTTP/1.1 200 Connection established"
int status_of(std::string_view head) {
  if (!head.starts_with("HTTP/1.")) return 0;
  const auto space = head.find(' ');
  int status = 0;
  if (space != std::string_view::npos) std::from_chars(head.data() + space + 1, head.data() + head.size(), status);
  return status >= 100 && status <= 599 ? status : 0;
}

}  // namespace

int ask_for_tunnel(int fd, const std::string& target, const std::string& authorization, Clock::time_point deadline) {
  std::string request = "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n";
  if (!authorization.empty()) request += "Proxy-Authorization: " + authorization + "\r\n";
  if (!send_all(fd, request + "\r\n", deadline)) return 0;
  std::string head;
  // Byte by byte: what follows the empty line is the target's.
  while (head.size() < kMostHeader && !head.ends_with("\r\n\r\n")) {
    char byte = 0;
    const ssize_t got = ::recv(fd, &byte, 1, 0);
    if (got == 1) {
      head.push_back(byte);
    } else if (got == 0 || (errno != EAGAIN && errno != EINTR) || !wait_for(fd, POLLIN, deadline)) {
      break;
    }
  }
  return status_of(head);
}

}  // namespace hawser::certs
