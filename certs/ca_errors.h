// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "base/result.h"
#include "certs/tls_probe.h"

// What: how a CA's refusals and a connection's failures are told, whatever the protocol. What may pass keeps a code
// that is retryable (Canceled, DeadlineExceeded, ResourceExhausted, Aborted, Internal, Unavailable: as istiod's own
// client has it); the rest waits for an operator. Threading: pure. Failure: none.
namespace hawser::certs {

// HWS-CA-004 unauthenticated, -005 not permitted, -006 refused, -013 in trouble.
Error refused_error(Code code, const std::string& text, const std::string& service);
// HWS-CA-001, -002, -003, -012, -014, -015.
Error unreached_error(const TlsFinding& finding);
// HWS-CA-007.
Error unusable_answer(const std::string& why);

}  // namespace hawser::certs
