// SPDX-License-Identifier: Apache-2.0
#include "certs/token_gce.h"

#include <algorithm>
#include <charconv>

#include "certs/utc.h"

namespace hawser::certs {
namespace {

constexpr char kFlavor[] = "Google";
constexpr char kPath[] = "/computeMetadata/v1/instance/service-accounts/default/identity";
constexpr char kElsewhere[] = "off GCE choose another identity.token.source";

std::string url_encoded(const std::string& text) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '.' || c == '_' || c == '~';
    if (plain) {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += {'%', kHex[byte >> 4U], kHex[byte & 15U]};
  }
  return out;
}

Error not_for_us(const std::string& message, const std::string& hint) {
  return {Code::kUnauthenticated, "HWS-ID-037", "the metadata server's token " + message, hint};
}

// Who sent it comes first: whoever else sits at that address mustn't choose what is sent to the CA.
Status check_sender(const HttpAnswer& answer) {
  const auto flavor = answer.headers.find("metadata-flavor");
  if (flavor != answer.headers.end() && flavor->second == kFlavor) return {};
  return Error(Code::kFailedPrecondition, "HWS-ID-034",
               "something answers at the metadata server's address that isn't it (status " +
                   std::to_string(answer.status) + ", no Metadata-Flavor)",
               kElsewhere);
}

Status check_status(int status) {
  const std::string said = "the metadata server answered " + std::to_string(status);
  if (status == 200) return {};
  if (status == 404)
    return Error(Code::kFailedPrecondition, "HWS-ID-035", said + ": this VM has no service account",
                 "gcloud compute instances set-service-account, with the VM stopped");
  if (status == 401 || status == 403)
    return Error(Code::kFailedPrecondition, "HWS-ID-035", said + ": the service account gets no identity token",
                 "look whether it is disabled, and at what limits access to the metadata server");
  const bool passes = status == 429 || status >= 500;
  return Error(passes ? Code::kUnavailable : Code::kFailedPrecondition, "HWS-ID-036", said,
               passes ? "none, it is asked again" : "see what listens there: no redirect is followed");
}

}  // namespace

Result<MetadataAddress> parse_metadata_address(const std::string& text) {
  MetadataAddress out;
  if (text.empty()) return out;
  const Error bad(Code::kInvalidArgument, "HWS-ID-033", "GCE_METADATA_HOST is no HOST or HOST:PORT",
                  "take it out of hawserd's environment, or write e.g. 169.254.169.254");
  std::string host = text;
  const auto bracket = text.rfind(']');
  const auto colon = text.rfind(':');
  const bool several = text.find(':') != colon && bracket == std::string::npos;  // a bare IPv6 address
  if (colon != std::string::npos && !several && (bracket == std::string::npos || colon == bracket + 1)) {
    const char* end = text.data() + text.size();
    const auto [rest, wrong] = std::from_chars(text.data() + colon + 1, end, out.port);
    if (wrong != std::errc() || rest != end || out.port == 0) return bad;
    host.resize(colon);
  }
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  const auto fine = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == ':' || c == '_';
  };
  if (host.empty() || host.size() > 255 || !std::all_of(host.begin(), host.end(), fine)) return bad;
  out.host = host;
  return out;
}

Result<Token> parse_identity_answer(const HttpAnswer& answer, const std::string& audience, Loop::Wall now) {
  if (auto sender = check_sender(answer); !sender) return sender.error();
  if (auto status = check_status(answer.status); !status) return status.error();
  auto token = parse_token(std::string(answer.body.reveal()));
  const auto claims = token ? token_claims(token->text.reveal()) : std::nullopt;
  if (!claims) return not_for_us("isn't a JWT", "see what listens at the metadata server's address");
  const auto& named = claims->audiences;
  if (std::find(named.begin(), named.end(), audience) == named.end())
    return not_for_us("isn't for the audience '" + audience + "'", "identity.token.audience");
  if (!claims->expires) return not_for_us("has no end", "see what listens at the metadata server's address");
  if (*claims->expires <= now)
    return not_for_us("ended at " + utc_text(*claims->expires), "look at this host's clock: timedatectl");
  return std::move(*token);
}

Result<Token> GceTokenSource::attest(const Challenge& challenge) {
  const auto address = parse_metadata_address(options_.metadata_host);
  if (!address) return address.error();
  const std::string& audience = challenge.audience.empty() ? options_.audience : challenge.audience;
  HttpRequest request;
  request.host = address->host;
  request.port = address->port;
  request.target = std::string(kPath) + "?audience=" + url_encoded(audience) + "&format=full";
  request.headers = {{"Metadata-Flavor", kFlavor}};
  request.timeout = options_.timeout;
  auto answer = call_.run(request);
  if (!answer) {
    Error error(answer.error().code(), "HWS-ID-033", "the metadata server isn't reached", kElsewhere);
    return error.because(answer.error());
  }
  return parse_identity_answer(*answer, audience, std::chrono::system_clock::now());
}

}  // namespace hawser::certs
