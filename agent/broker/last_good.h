// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <string>

#include "base/result.h"
#include "broker/generations.h"

namespace hawser::broker {

// What: the last-good proxy generation as it was asked for, so that the guardian can start it again without anybody.
// What is started is kept aside; when interception over it is confirmed, it becomes the last good one. Threading:
// blocking. Failure: HWS-BR-051 (none is known, or its file is damaged), those of base/file.h. Durability: both files
// are replaced atomically.
class LastGood {
 public:
  explicit LastGood(const std::string& folder)
      : started_path_(folder + "/started.pb"), good_path_(folder + "/last_good.pb") {}

  Status remember_started(const Generations::Wanted& wanted, const std::string& version) const;
  // Takes what was started last, if that is `generation`, and nothing has changed otherwise.
  Status promote(const std::string& generation) const;
  // To be started cold: as epoch 0 of its family, since a later epoch waits for the one before it.
  Result<Generations::Wanted> load() const;
  // The proxy's version, if exactly this, the digest included, is the last good one; else empty.
  std::string version_of(const Generations::Wanted& wanted) const;
  Status forget() const;

 private:
  std::string started_path_;
  std::string good_path_;
};

}  // namespace hawser::broker
