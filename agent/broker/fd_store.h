// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <string>
#include <vector>

#include "base/fd.h"

// What: systemd's file descriptor store (sd_pid_notify_with_fds(3)): what's put there stays open while we're away, and
// comes back at our next start by name. systemd empties it when the unit stops for good, or fails for good.
// Threading: take() at start, before descriptors are opened; put() and forget() on the loop, waiting a moment for
// systemd. Failure: HWS-BR-050 in the log; without a store rules go with the broker, as they do without systemd.
namespace hawser::broker {

struct StoredFd {
  std::string name;
  UniqueFd fd;
};

class FdStore {
 public:
  // As the environment says: NOTIFY_SOCKET, and FDSTORE (since systemd 254) isn't 0.
  static FdStore of_environment();

  bool available() const { return available_; }
  // Those whose name begins with `prefix`, which no other call gives out again.
  std::vector<StoredFd> take(const std::string& prefix);
  void put(int fd, const std::string& name) const;
  void forget(const std::string& name) const;

 private:
  bool available_ = false;
};

}  // namespace hawser::broker
