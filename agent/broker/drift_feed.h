// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <boost/asio/posix/stream_descriptor.hpp>
#include <functional>
#include <memory>
#include <vector>

#include "base/asio_loop.h"
#include "netfilter/drift_events.h"

namespace hawser::broker {

// What: hands the kernel's events to the loop as they come. Threading: on the loop. Failure: a socket that breaks ends
// it, with a line in the log; looking goes on.
class DriftFeed {
 public:
  using Heard = std::function<void(const std::vector<netfilter::Change>&)>;

  DriftFeed(AsioLoop& loop, std::unique_ptr<netfilter::DriftEvents> events, Heard heard);
  ~DriftFeed();
  DriftFeed(const DriftFeed&) = delete;
  DriftFeed& operator=(const DriftFeed&) = delete;

 private:
  void wait();

  std::unique_ptr<netfilter::DriftEvents> events_;
  Heard heard_;
  boost::asio::posix::stream_descriptor descriptor_;
};

}  // namespace hawser::broker
