// SPDX-License-Identifier: Apache-2.0
#include "certs/ca_meshca.h"

#include <openssl/rand.h>

#include <array>

#include "certs/ca_chain.h"
#include "certs/ca_errors.h"
#include "google/security/meshca/v1/meshca.pb.h"

namespace hawser::certs {
namespace {

// RFC 9562 §5.4: version 4. Without randomness there'd be no key and no request either.
std::string make_uuid() {
  std::array<unsigned char, 16> bytes{};
  RAND_bytes(bytes.data(), static_cast<int>(bytes.size()));
  bytes[6] = static_cast<unsigned char>((bytes[6] & 0x0fU) | 0x40U);
  bytes[8] = static_cast<unsigned char>((bytes[8] & 0x3fU) | 0x80U);
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) out += '-';
    out += kDigits[bytes[i] >> 4U];
    out += kDigits[bytes[i] & 15U];
  }
  return out;
}

class MeshCaProtocol final : public CaProtocol {
 public:
  explicit MeshCaProtocol(MeshCaSettings settings) : settings_(std::move(settings)) {}

  std::string name() const override { return "mesh-ca"; }
  std::string method() const override { return "/google.security.meshca.v1.MeshCertificateService/CreateCertificate"; }
  Metadata metadata() const override { return {{"x-goog-request-params", "location=locations/" + settings_.location}}; }

  std::string request(const CaClient::Request& request) override {
    if (request_id_.empty() || csr_pem_ != request.csr_pem) {
      csr_pem_ = request.csr_pem;
      request_id_ = make_uuid();
    }
    google::security::meshca::v1::MeshCertificateRequest out;
    out.set_request_id(request_id_);
    out.set_csr(request.csr_pem);
    out.mutable_validity()->set_seconds(request.ttl.count());
    return out.SerializeAsString();
  }

  Result<CaClient::Answer> answer(const std::string& bytes) const override {
    google::security::meshca::v1::MeshCertificateResponse in;
    if (!in.ParseFromString(bytes)) return unusable_answer("isn't a MeshCertificateResponse");
    return answer_of_entries({in.cert_chain().begin(), in.cert_chain().end()});
  }

 private:
  MeshCaSettings settings_;
  std::string csr_pem_;  // of the last request
  std::string request_id_;
};

}  // namespace

std::unique_ptr<CaProtocol> make_meshca_protocol(MeshCaSettings settings) {
  return std::make_unique<MeshCaProtocol>(std::move(settings));
}

}  // namespace hawser::certs
