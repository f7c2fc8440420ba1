// SPDX-License-Identifier: Apache-2.0
#include "xds/retiring_stream.h"

#include <chrono>
#include <utility>

namespace hawser::xds {
namespace {

constexpr std::chrono::seconds kRetireTimeout{1};

}  // namespace

void RetiringStream::end() {
  if (std::exchange(ending_, true) || released_) return;
  timer_ = strand_.after(kRetireTimeout, [this] { stream_->cancel(); });
  proceed();
}

void RetiringStream::proceed() {
  if (!ending_ || released_) return;
  if (!writing_ && !std::exchange(half_closed_, true)) stream_->half_close();
  if (!std::exchange(reading_, true)) stream_->read();
}

void RetiringStream::on_read(bool ok) {
  reading_ = false;
  if (!ok) {
    release();
  } else {
    proceed();
  }
}

void RetiringStream::on_written(bool ok) {
  writing_ = false;
  if (ok) {
    proceed();
  } else if (!released_ && !std::exchange(reading_, true)) {
    stream_->read();
  }
}

void RetiringStream::release() {
  if (!std::exchange(released_, true)) stream_->release();
}

void RetiringStream::abandon() {
  timer_.reset();
  stream_->cancel();
  release();
}

}  // namespace hawser::xds
