// SPDX-License-Identifier: Apache-2.0
#include "bootstrap/bundle_identity.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <optional>

namespace hawser::bootstrap {
namespace {

constexpr char kHeader[] = "CA_HEADER_";
constexpr double kEarliest = 0.1;  // of identity.renew_at
constexpr double kLatest = 0.9;

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return text;
}

std::optional<double> number(const std::string& text) {
  std::size_t used = 0;
  try {
    const double value = std::stod(text, &used);
    if (used == text.size() && std::isfinite(value)) return value;
  } catch (const std::exception&) {
    return std::nullopt;
  }
  return std::nullopt;
}

// Go's: 24h0m0s, 1h30m, 90s.
std::optional<double> go_seconds(const std::string& text) {
  static const std::map<std::string, double> kUnits = {{"h", 3600.0}, {"m", 60.0}, {"s", 1.0}, {"ms", 0.001}};
  double sum = 0;
  for (std::size_t at = 0; at < text.size();) {
    const auto unit = text.find_first_not_of("0123456789.", at);
    if (unit == std::string::npos || unit == at) return std::nullopt;
    const auto end = std::min(text.find_first_of("0123456789.", unit), text.size());
    const auto factor = kUnits.find(text.substr(unit, end - unit));
    const auto count = number(text.substr(at, unit - at));
    if (factor == kUnits.end() || !count) return std::nullopt;
    sum += *count * factor->second;
    at = end;
  }
  return text.empty() ? std::nullopt : std::optional<double>(sum);
}

class IdentityReader {
 public:
  IdentityReader(const Variables& env, const Variables& metadata, const std::string& path,
                 std::vector<std::string>& warnings)
      : env_(env), metadata_(metadata), path_(path), warnings_(warnings) {}

  Result<BundleIdentity> read() {
    BundleIdentity out;
    for (const auto* variables : {&metadata_, &env_})  // what is set later wins
      for (const auto& [name, value] : *variables)
        if (name.starts_with(kHeader)) out.ca_headers[lower(name.substr(sizeof kHeader - 1))] = value;
    out.cert_signer = value_of("ISTIO_META_CERT_SIGNER");
    read_root(out);
    for (auto step : {&IdentityReader::read_key, &IdentityReader::read_ttl, &IdentityReader::read_renewal})
      if (auto ok = (this->*step)(out); !ok) return ok.error();
    return out;
  }

 private:
  std::string value_of(const std::string& name) const {
    for (const auto* variables : {&env_, &metadata_})
      if (const auto found = variables->find(name); found != variables->end() && !found->second.empty())
        return found->second;
    return {};
  }

  Error refuse(const std::string& message, const std::string& hint) const {
    Error error(Code::kUnimplemented, "HWS-ON-007", message, hint);
    error.at(path_);
    return error;
  }

  void read_root(BundleIdentity& out) {
    const auto root = value_of("CA_ROOT_CA");
    if (root == "SYSTEM")
      out.ca_root = "system";
    else if (!root.empty())
      warnings_.push_back(path_ + ": CA_ROOT_CA=" + root + " isn't taken over; if the CA's root isn't root-cert.pem, " +
                          "set ca.root");
  }

  Status read_key(BundleIdentity& out) {
    const auto algorithm = value_of("ECC_SIGNATURE_ALGORITHM");
    const auto curve = value_of("ECC_CURVE");
    const auto size = value_of("WORKLOAD_RSA_KEY_SIZE");
    if (!algorithm.empty() && algorithm != "ECDSA")
      return refuse("ECC_SIGNATURE_ALGORITHM='" + algorithm + "' isn't ECDSA", "take the line out, or set ECDSA");
    if (algorithm == "ECDSA") {
      if (!curve.empty() && curve != "P256" && curve != "P384")
        return refuse("ECC_CURVE='" + curve + "' is neither P256 nor P384", "choose one of the two");
      out.key = curve == "P384" ? "ec-p384" : "ec-p256";
    } else if (!size.empty()) {
      if (size != "2048" && size != "3072" && size != "4096")
        return refuse("WORKLOAD_RSA_KEY_SIZE='" + size + "' is none of 2048, 3072 and 4096", "choose one of these");
      out.key = "rsa-" + size;
    }
    return {};
  }

  Status read_ttl(BundleIdentity& out) {
    const auto ttl = value_of("SECRET_TTL");
    if (ttl.empty()) return {};
    const auto seconds = go_seconds(ttl);
    if (!seconds || *seconds < 30 || *seconds > 1e9)
      return refuse("SECRET_TTL='" + ttl + "' is no lifetime of 30 s or more", "write it as 24h or 12h30m");
    out.ttl = std::to_string(static_cast<long>(*seconds)) + "s";
    return {};
  }

  // Theirs is the share of the lifetime that is left when a certificate is renewed, ours the one that is over.
  Status read_renewal(BundleIdentity& out) {
    const auto text = value_of("SECRET_GRACE_PERIOD_RATIO");
    if (text.empty()) return {};
    const auto ratio = number(text);
    if (!ratio || *ratio < 0 || *ratio > 1)
      return refuse("SECRET_GRACE_PERIOD_RATIO='" + text + "' is no share from 0 to 1", "0.5 is the default");
    const double share = std::clamp(1 - *ratio, kEarliest, kLatest);
    if (share != 1 - *ratio)
      warnings_.push_back(path_ + ": SECRET_GRACE_PERIOD_RATIO=" + text + " would renew too early or too late; " +
                          "identity.renew_at is from 0.1 to 0.9");
    char shown[16];
    std::snprintf(shown, sizeof shown, "%.4g", share);
    out.renew_at = shown;
    return {};
  }

  const Variables& env_;
  const Variables& metadata_;
  const std::string& path_;
  std::vector<std::string>& warnings_;
};

}  // namespace

Result<BundleIdentity> read_bundle_identity(const Variables& env, const Variables& proxy_metadata,
                                            const std::string& path, std::vector<std::string>& warnings) {
  return IdentityReader(env, proxy_metadata, path, warnings).read();
}

}  // namespace hawser::bootstrap
