// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "base/loop.h"
#include "xds/upstream_stream.h"

namespace hawser::xds {

// What: a stream whose place another one has taken. It is kept open, unread, until the other one stands, then ended
// politely: half-close, wait for the plane's end, a second at most. What still comes by it was never answered and is
// dropped: the new stream has asked for the same. Threading: the strand. Failure: none.
class RetiringStream {
 public:
  RetiringStream(Loop& strand, std::unique_ptr<UpstreamStream> stream, bool reading, bool writing)
      : strand_(strand), stream_(std::move(stream)), reading_(reading), writing_(writing) {}

  void end();
  void on_read(bool ok);
  void on_written(bool ok);
  // At once. Then only the destructor may follow, after wait_done().
  void abandon();
  UpstreamStream& stream() { return *stream_; }
  std::unique_ptr<UpstreamStream> take() { return std::move(stream_); }

 private:
  void proceed();
  void release();

  Loop& strand_;
  std::unique_ptr<UpstreamStream> stream_;
  bool reading_;
  bool writing_;
  bool ending_ = false;
  bool half_closed_ = false;
  bool released_ = false;
  std::unique_ptr<Loop::Timer> timer_;
};

}  // namespace hawser::xds
