// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "base/result.h"
#include "config/config.h"
#include "registration/probe_attempt.h"

typedef struct ssl_ctx_st SSL_CTX;
typedef struct ssl_st SSL;

// What: the TLS of a probe: towards a program (its certificate is looked at only if a CA is given) or towards the
// host's own proxy (mTLS with the host's identity, as any caller; the other end must be this same identity). Threading:
// any. Failure: HWS-RG-002.
namespace hawser::registration {

Status set_up_program_tls(SSL_CTX* context, const config::HealthProbe& probe);
Status set_up_proxy_tls(SSL_CTX* context, const config::HealthProbe& probe, const ProbeIdentity& identity);
// Before the handshake: SNI, and the name that is looked for.
Status name_server(SSL* session, const config::HealthProbe& probe);
// After it.
Status check_own_proxy(SSL* session, const std::string& spiffe_id);

}  // namespace hawser::registration
