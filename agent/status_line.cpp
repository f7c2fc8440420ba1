// SPDX-License-Identifier: Apache-2.0
#include "status_line.h"

#include <utility>

namespace hawser {

StatusLine::StatusLine(Loop& loop, std::function<std::string()> text, Tell tell)
    : loop_(loop), text_(std::move(text)), tell_(std::move(tell)) {}

void StatusLine::changed() {
  if (std::exchange(pending_, true)) return;
  loop_.post([this, alive = std::weak_ptr<bool>(alive_)] {
    if (!alive.expired()) look();
  });
}

void StatusLine::look() {
  pending_ = false;
  std::string now = text_();
  if (now == told_) return;
  told_ = std::move(now);
  tell_(told_);
}

}  // namespace hawser
