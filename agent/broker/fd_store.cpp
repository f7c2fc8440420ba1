// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "broker/fd_store.h"

#include <systemd/sd-daemon.h>

#include <cstdlib>
#include <cstring>

#include "base/log.h"

namespace hawser::broker {
namespace {

// systemd answers within milliseconds; a manager that is being re-executed takes a little longer.
constexpr std::uint64_t kBarrierMicroseconds = 2'000'000;

void failed(const char* what, const std::string& name, int rc) {
  log::warn(what, {{"id", "HWS-BR-050"}, {"name", name}, {"error", std::strerror(-rc)}});
}

}  // namespace

FdStore FdStore::of_environment() {
  FdStore out;
  const char* socket = std::getenv("NOTIFY_SOCKET");
  const char* limit = std::getenv("FDSTORE");
  out.available_ = socket != nullptr && *socket != '\0' && (limit == nullptr || std::strcmp(limit, "0") != 0);
  return out;
}

std::vector<StoredFd> FdStore::take(const std::string& prefix) {
  std::vector<StoredFd> out;
  char** names = nullptr;
  const int count = ::sd_listen_fds_with_names(0, &names);
  for (int i = 0; i < count; ++i) {
    if (names[i] != nullptr && std::string(names[i]).starts_with(prefix))
      out.push_back({names[i], UniqueFd(SD_LISTEN_FDS_START + i)});
    std::free(names[i]);
  }
  std::free(names);
  return out;
}

void FdStore::put(int fd, const std::string& name) const {
  if (!available_) return;
  // FDPOLL=0: systemd would drop a socket that shows an error, and a full netlink queue is one.
  const std::string message = "FDSTORE=1\nFDPOLL=0\nFDNAME=" + name;
  if (const int rc = ::sd_pid_notify_with_fds(0, 0, message.c_str(), &fd, 1); rc <= 0)
    return failed("a descriptor can't be given to systemd, so the rules go with this process", name, rc);
  if (const int rc = ::sd_notify_barrier(0, kBarrierMicroseconds); rc <= 0)
    failed("systemd didn't say that it has the descriptor", name, rc);
}

void FdStore::forget(const std::string& name) const {
  if (!available_) return;
  ::sd_notify(0, ("FDSTOREREMOVE=1\nFDNAME=" + name).c_str());
  // What is decided by its closing mustn't wait for systemd's next round.
  (void)::sd_notify_barrier(0, kBarrierMicroseconds);
}

}  // namespace hawser::broker
