// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace boost::asio {
class io_context;
}

namespace hawser::dial {

// What: TCP connections to several addresses, each begun a moment after the one before, or at once when that one has
// failed (RFC 8305); the first that stands wins, and is closed: what it tells is where to dial. Nothing is sent.
// Threading: the loop's thread; `done` comes once, later, unless the race is destroyed. Failure: no winner.
class Race {
 public:
  struct Result {
    std::size_t winner = 0;           // an index; addresses.size(): none
    std::vector<std::string> causes;  // by index; empty: not tried, or no answer yet when another one won
  };
  struct Pace {
    std::chrono::milliseconds stagger{250};
    std::chrono::milliseconds timeout{5'000};  // of each
  };

  // `addresses`: ip:port or [ip]:port.
  Race(boost::asio::io_context& context, std::vector<std::string> addresses, Pace pace,
       std::function<void(Result)> done);
  ~Race();
  Race(const Race&) = delete;
  Race& operator=(const Race&) = delete;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace hawser::dial
