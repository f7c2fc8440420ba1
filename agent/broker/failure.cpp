// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "broker/failure.h"

#include "hawser/broker.pb.h"

namespace hawser::broker {

void to_proto(const Error& error, v1::Failure& out) {
  std::string message = error.message();
  for (const Error* cause = error.cause(); cause != nullptr; cause = cause->cause()) message += ": " + cause->message();
  out.set_code(static_cast<int>(error.code()));
  out.set_id(error.id());
  out.set_message(message);
  out.set_hint(error.hint());
}

Error to_error(const v1::Failure& failure) {
  const bool known = failure.code() > 0 && failure.code() <= static_cast<int>(Code::kUnauthenticated);
  return {known ? static_cast<Code>(failure.code()) : Code::kUnknown, failure.id(), failure.message(), failure.hint()};
}

}  // namespace hawser::broker
