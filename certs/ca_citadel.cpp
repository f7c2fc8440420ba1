// SPDX-License-Identifier: Apache-2.0
#include "certs/ca_citadel.h"

#include <algorithm>
#include <limits>

#include "certs/ca_errors.h"
#include "certs/secret.h"
#include "istio/security/v1alpha1/ca_service.pb.h"

namespace hawser::certs {
namespace {

constexpr char kService[] = "istio.v1.auth.IstioCAService";

// Never less than what was asked for, and never nothing: that would be the CA's default.
std::int32_t minutes_of(std::chrono::seconds ttl) {
  const auto minutes = std::chrono::ceil<std::chrono::minutes>(ttl).count();
  return static_cast<std::int32_t>(std::clamp<std::int64_t>(minutes, 1, std::numeric_limits<std::int32_t>::max()));
}

class CitadelProtocol final : public CaProtocol {
 public:
  explicit CitadelProtocol(CitadelSettings settings) : settings_(std::move(settings)) {}

  std::string name() const override { return "citadel"; }
  std::string method() const override { return "/" + std::string(kService) + "/HandleCSR"; }
  Metadata metadata() const override { return {{"clusterid", settings_.cluster_id}}; }

  std::string request(const CaClient::Request& request) override {
    istio::v1::auth::CsrRequest out;
    out.set_csr_pem(request.csr_pem);
    out.set_requested_ttl_minutes(minutes_of(request.ttl));
    if (!request.token.empty()) {
      out.set_node_agent_credential(request.token.reveal().data(), request.token.size());
      out.set_credential_type("jwt");
    } else if (request.client) {
      out.set_node_agent_credential(request.client->chain_pem);
      out.set_credential_type("onprem");
    }
    auto bytes = out.SerializeAsString();
    wipe(*out.mutable_node_agent_credential());
    return bytes;
  }

  Result<CaClient::Answer> answer(const std::string& bytes) const override {
    istio::v1::auth::CsrResponse in;
    if (!in.ParseFromString(bytes)) return unusable_answer("isn't a CsrResponse");
    if (!in.is_approved()) return not_approved(in.status());
    std::string pem = in.signed_cert();
    if (!pem.empty() && pem.back() != '\n') pem += '\n';
    return answer_of_chain(pem + in.cert_chain(), settings_.roots());
  }

 private:
  static Error not_approved(const google::rpc::Status& status) {
    const bool told = status.code() > 0 && status.code() <= static_cast<int>(Code::kUnauthenticated);
    return refused_error(told ? static_cast<Code>(status.code()) : Code::kPermissionDenied,
                         status.message().empty() ? "the request isn't approved" : status.message(), kService);
  }

  CitadelSettings settings_;
};

}  // namespace

std::unique_ptr<CaProtocol> make_citadel_protocol(CitadelSettings settings) {
  return std::make_unique<CitadelProtocol>(std::move(settings));
}

}  // namespace hawser::certs
