// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "base/fd.h"

#include <unistd.h>

namespace hawser {

void UniqueFd::reset(int fd) {
  // close() is not retried on EINTR: Linux has released the number already.
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

}  // namespace hawser
