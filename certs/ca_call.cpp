// SPDX-License-Identifier: Apache-2.0
#include "certs/ca_call.h"

#include <algorithm>
#include <vector>

#include "dial/grpc_route.h"

namespace hawser::certs {
namespace {

constexpr int kKeepaliveMs = 30'000;
constexpr int kKeepaliveTimeoutMs = 10'000;

std::shared_ptr<grpc::Channel> make_channel(const CallTarget& target, const Identity* client) {
  grpc::SslCredentialsOptions tls;
  tls.pem_root_certs = target.roots_pem;
  if (client != nullptr) {
    tls.pem_private_key = client->key_pem.reveal();
    tls.pem_cert_chain = client->chain_pem;
  }
  grpc::ChannelArguments arguments;
  arguments.SetSslTargetNameOverride(target.server_name);
  arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, target.server_name);
  arguments.SetMaxReceiveMessageSize(kMaxCaAnswer);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  dial::apply_proxy(target.route, arguments);
  const std::string where = target.by_route ? dial::grpc_target(target.route) : "dns:///" + target.route.address;
  auto channel = grpc::CreateCustomChannel(where, grpc::SslCredentials(tls), arguments);
  wipe(tls.pem_private_key);
  return channel;
}

}  // namespace

CaCall::CaCall(const CallTarget& target, const Identity* client)
    : channel_(make_channel(target, client)), stub_(std::make_unique<grpc::GenericStub>(channel_)) {}

void CaCall::start(const std::string& method, const std::string& request, std::chrono::milliseconds deadline,
                   Ended ended) {
  const grpc::Slice slice(request);
  request_ = grpc::ByteBuffer(&slice, 1);
  context_.set_deadline(std::chrono::system_clock::now() + deadline);
  stub_->UnaryCall(
      &context_, method, {}, &request_, &response_,
      [share = shared_from_this(), over = over_, ended = std::move(ended)](const grpc::Status& status) mutable {
        ended(std::move(share), status);
        over->set_value();
      });
}

std::string CaCall::answer() const {
  std::vector<grpc::Slice> slices;
  std::string bytes;
  if (!response_.Valid() || !response_.Dump(&slices).ok()) return bytes;
  for (const auto& slice : slices) bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return bytes;
}

void CaCall::cancel() {
  context_.TryCancel();
  over_->get_future().wait();
}

bool is_too_large(const grpc::Status& status) {
  return status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED &&
         status.error_message().find("larger than max") != std::string::npos;
}

bool can_be_header(std::string_view value) {
  return std::all_of(value.begin(), value.end(), [](unsigned char c) { return c >= 0x20 && c < 0x7f; });
}

}  // namespace hawser::certs
