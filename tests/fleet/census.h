// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/loop.h"

namespace hawser::fleet {

// What: who is connected, and what it took: since the last mark() tries by second, answers, losses, errors by id, and
// for each host that came back how long it was gone. Threading: the loop. Failure: none.
class Census {
 public:
  Census(const Loop& loop, std::vector<std::string> names);

  void tried(std::size_t host);
  void answered(std::size_t host);
  void lost(std::size_t host);
  void failed(const std::string& id);

  // Counts anew from here. Whoever is gone stays gone since when it was lost.
  void mark();
  nlohmann::json report() const;

 private:
  struct Host {
    std::string name;
    bool connected = false;
    bool ever = false;
    Loop::Monotonic lost_at;
  };

  const Loop& loop_;
  std::vector<Host> hosts_;
  Loop::Monotonic marked_;
  std::map<std::int64_t, std::size_t> tries_by_second_;
  std::size_t answers_ = 0;
  std::size_t losses_ = 0;
  std::map<std::string, std::size_t> errors_;
  std::vector<double> gone_;
};

}  // namespace hawser::fleet
