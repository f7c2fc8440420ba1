// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "broker/drift_feed.h"

#include "base/log.h"

namespace hawser::broker {

DriftFeed::DriftFeed(AsioLoop& loop, std::unique_ptr<netfilter::DriftEvents> events, Heard heard)
    : events_(std::move(events)), heard_(std::move(heard)), descriptor_(loop.context(), events_->fd()) {
  wait();
}

DriftFeed::~DriftFeed() {
  descriptor_.release();  // `events_` closes it
}

void DriftFeed::wait() {
  descriptor_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                         [this](const boost::system::error_code& error) {
                           if (error == boost::asio::error::operation_aborted) return;
                           if (error) return log::warn("the kernel's events end", {{"error", error.message()}});
                           heard_(events_->read());
                           wait();
                         });
}

}  // namespace hawser::broker
