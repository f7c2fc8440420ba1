// SPDX-License-Identifier: Apache-2.0
#include "xds/trimmer.h"

#include <malloc.h>

namespace hawser::xds {

void Trimmer::moved(std::size_t bytes) {
  bytes_ += bytes;
  last_ = strand_.now();
  if (bytes_ >= kWorth && timer_ == nullptr) arm();
}

// One timer until it's quiet, and not one a message.
void Trimmer::arm() {
  timer_ = strand_.after(kQuiet, [this] { look(); });
}

void Trimmer::look() {
  if (strand_.now() - last_ < kQuiet) return arm();
  timer_.reset();
  bytes_ = 0;
  ::malloc_trim(0);
}

}  // namespace hawser::xds
