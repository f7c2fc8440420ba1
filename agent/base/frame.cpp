// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "base/frame.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>

#include "base/fd.h"

namespace hawser::frame {
namespace {

using Clock = std::chrono::steady_clock;

std::uint32_t length_of(std::string_view header) {
  std::uint32_t length = 0;
  for (int i = 0; i < 4; ++i) length = (length << 8U) | static_cast<unsigned char>(header[static_cast<std::size_t>(i)]);
  return length;
}

Error timed_out(const std::string& path) {
  return {Code::kDeadlineExceeded, "HWS-RPC-002", "no answer on " + path + " in time", "see the service's log"};
}

Status wait_for(int fd, short events, Clock::time_point deadline, const std::string& path) {
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return timed_out(path);
    pollfd item{fd, events, 0};
    const int n = ::poll(&item, 1, static_cast<int>(left));
    if (n > 0) return {};
    if (n < 0 && errno != EINTR) return errno_error(errno, "HWS-RPC-002", "can't wait on " + path);
  }
}

Result<UniqueFd> connect_to(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return Error(Code::kInvalidArgument, "HWS-RPC-002", "socket path too long: " + path);
  std::memcpy(address.sun_path, path.data(), path.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return errno_error(errno, "HWS-RPC-002", "can't make a socket");
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return errno_error(errno, "HWS-RPC-002", "can't connect to " + path, "is the service running, and may you use it?");
  return fd;
}

}  // namespace

std::string encode(std::string_view payload) {
  const auto n = static_cast<std::uint32_t>(payload.size());
  std::string out;
  out.reserve(payload.size() + 4);
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>((n >> shift) & 0xffU));
  return out.append(payload);
}

Status Reader::feed(std::string_view bytes) {
  buffer_.append(bytes);
  if (buffer_.size() >= 4 && length_of(buffer_) > limit_)
    return Error(Code::kResourceExhausted, "HWS-RPC-001",
                 "a frame of " + std::to_string(length_of(buffer_)) + " bytes");
  return {};
}

bool Reader::next(std::string& payload) {
  if (buffer_.size() < 4) return false;
  const std::size_t length = length_of(buffer_);
  if (length > limit_ || buffer_.size() < 4 + length) return false;
  payload.assign(buffer_, 4, length);
  buffer_.erase(0, 4 + length);
  return true;
}

Result<std::string> call(const std::string& path, std::string_view request, int timeout_ms) {
  const auto deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
  auto fd = connect_to(path);
  if (!fd) return fd.error();
  const std::string framed = encode(request);
  std::string_view rest = framed;
  while (!rest.empty()) {
    const ssize_t n = ::send(fd->get(), rest.data(), rest.size(), MSG_NOSIGNAL);
    if (n > 0) {
      rest.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno == EAGAIN) {
      if (auto ready = wait_for(fd->get(), POLLOUT, deadline, path); !ready) return ready.error();
    } else if (errno != EINTR) {
      return errno_error(errno, "HWS-RPC-002", "can't send to " + path);
    }
  }
  Reader reader;
  std::string payload;
  char chunk[16384];
  for (;;) {
    if (reader.next(payload)) return payload;
    if (auto ready = wait_for(fd->get(), POLLIN, deadline, path); !ready) return ready.error();
    const ssize_t n = ::recv(fd->get(), chunk, sizeof chunk, 0);
    if (n == 0)
      return Error(Code::kUnavailable, "HWS-RPC-002", path + " closed the connection", "see the service's log");
    if (n < 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      return errno_error(errno, "HWS-RPC-002", "can't receive from " + path);
    }
    if (auto fed = reader.feed({chunk, static_cast<std::size_t>(n)}); !fed) return fed.error();
  }
}

}  // namespace hawser::frame
