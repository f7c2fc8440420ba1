// SPDX-License-Identifier: Apache-2.0
#include "certs/ca_istio.h"

#include "certs/ca_chain.h"
#include "certs/ca_errors.h"
#include "istio/security/v1alpha1/ca.pb.h"

namespace hawser::certs {
namespace {

class IstioProtocol final : public CaProtocol {
 public:
  explicit IstioProtocol(IstioCaSettings settings) : settings_(std::move(settings)) {}

  std::string name() const override { return "istio"; }
  std::string method() const override { return "/istio.v1.auth.IstioCertificateService/CreateCertificate"; }
  Metadata metadata() const override { return {{"clusterid", settings_.cluster_id}}; }

  std::string request(const CaClient::Request& request) override {
    istio::v1::auth::IstioCertificateRequest out;
    out.set_csr(request.csr_pem);
    out.set_validity_duration(request.ttl.count());
    // The stock agent always sends it, mostly empty.
    (*out.mutable_metadata()->mutable_fields())["CertSigner"].set_string_value(settings_.cert_signer);
    return out.SerializeAsString();
  }

  Result<CaClient::Answer> answer(const std::string& bytes) const override {
    istio::v1::auth::IstioCertificateResponse in;
    if (!in.ParseFromString(bytes)) return unusable_answer("isn't an IstioCertificateResponse");
    return answer_of_entries({in.cert_chain().begin(), in.cert_chain().end()});
  }

 private:
  IstioCaSettings settings_;
};

}  // namespace

std::unique_ptr<CaProtocol> make_istio_protocol(IstioCaSettings settings) {
  return std::make_unique<IstioProtocol>(std::move(settings));
}

}  // namespace hawser::certs
