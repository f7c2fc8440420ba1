// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/loop.h"

namespace hawser::xds {

// What: tells a control plane whose streams end soon after their first response, again and again, from one that closes
// streams that have grown old. Threading: the relay's strand. Failure: none.
class ShortStreams {
 public:
  // That many in a row are no routine.
  static constexpr unsigned kAlarm = 3;

  // A stream that answered has ended, not by our wish.
  void ended(Loop::Duration life, Loop::Duration good_after) { count_ = life < good_after ? count_ + 1 : 0; }
  // A stream has been open long enough.
  void settled() { count_ = 0; }
  bool alarmed() const { return count_ >= kAlarm; }
  unsigned count() const { return count_; }

 private:
  unsigned count_ = 0;
};

}  // namespace hawser::xds
