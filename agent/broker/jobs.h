// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <functional>

#include "broker/generations.h"
#include "broker/guardian.h"
#include "broker/interception.h"

namespace hawser::broker::v1 {
class Request;
class Response;
}  // namespace hawser::broker::v1

namespace hawser::broker {

// What: the whole of what can be asked of the broker: each request of the schema to the one function that does it.
// Threading: on the loop. Failure: HWS-BR-005 for a request that is empty or newer than we are; others as they come.
class Jobs {
 public:
  using Answer = std::function<void(const v1::Response&)>;

  Jobs(Interception& interception, Generations& generations, Guardian& guardian, std::function<std::uint64_t()> refused)
      : interception_(interception), generations_(generations), guardian_(guardian), refused_(std::move(refused)) {}

  void handle(const v1::Request& request, Answer answer);

 private:
  void plan(const v1::Request& request, const Answer& answer);
  void restore(const Answer& answer);
  void confirm(const v1::Request& request, const Answer& answer);
  void remove(const v1::Request& request, Answer answer);
  void verify(const Answer& answer);
  void lease(const v1::Request& request, const Answer& answer);
  void observe(bool with_rules, const Answer& answer);
  void validate(const v1::Request& request, Answer answer);
  void start(const v1::Request& request, Answer answer);
  void reap(const v1::Request& request, Answer answer);
  void binary(const v1::Request& request, const Answer& answer);

  Interception& interception_;
  Generations& generations_;
  Guardian& guardian_;
  std::function<std::uint64_t()> refused_;
};

}  // namespace hawser::broker
