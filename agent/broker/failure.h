// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include "base/result.h"

namespace hawser::broker::v1 {
class Failure;
}

// What: an Error on the wire and back, so that hawserd and the operator read what the broker meant. Pure.
namespace hawser::broker {

void to_proto(const Error& error, v1::Failure& out);
Error to_error(const v1::Failure& failure);

}  // namespace hawser::broker
