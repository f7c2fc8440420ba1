// SPDX-License-Identifier: Apache-2.0
#include "xds/upstream_stream.h"

#include <charconv>

#include "dial/grpc_route.h"

namespace hawser::xds {
namespace {

constexpr int kMaxRequest = 256 << 20;
// gRPC keeps a buffer as large as its largest read for the next one, 4 MB and more where a network is fast.
constexpr int kReadChunk = 256 << 10;
constexpr char kDeltaMethod[] = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
constexpr char kSotwMethod[] = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";

constexpr char kNobody[] = "-";  // no certificate: nobody can be verified

std::shared_ptr<grpc::Channel> make_channel(const UpstreamOptions& options, const Credentials& credentials,
                                            const std::optional<dial::Route>& route) {
  grpc::SslCredentialsOptions tls;
  tls.pem_root_certs = credentials.roots_pem.value_or(options.roots_pem);
  // gRPC would take the system's roots instead of none.
  if (tls.pem_root_certs.empty()) tls.pem_root_certs = kNobody;
  tls.pem_private_key = credentials.key_pem;
  tls.pem_cert_chain = credentials.chain_pem;
  grpc::ChannelArguments arguments;
  if (!options.server_name.empty()) {
    arguments.SetSslTargetNameOverride(options.server_name);
    arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, options.server_name);
  }
  arguments.SetMaxReceiveMessageSize(static_cast<int>(options.max_response));
  arguments.SetMaxSendMessageSize(kMaxRequest);
  arguments.SetInt(GRPC_ARG_TCP_MAX_READ_CHUNK_SIZE, kReadChunk);
  // A connection of its own: the shared pool would hand out one made with an older certificate, or still backing off.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // A proxy variable of the environment isn't meant for the control plane.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  // Also bounds the connection attempt itself.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, static_cast<int>(options.connect_timeout.count()));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, static_cast<int>(options.keepalive_time.count()));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, static_cast<int>(options.keepalive_timeout.count()));
  // gRPC stops after two pings without data otherwise, and a quiet stream is the normal case here.
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  if (route) dial::apply_proxy(*route, arguments);
  return grpc::CreateCustomChannel(route ? dial::grpc_target(*route) : options.dial_target, grpc::SslCredentials(tls),
                                   arguments);
}

// gRPC's own word for "come again in so many milliseconds", in the trailers.
std::optional<std::chrono::milliseconds> pushback_of(const grpc::ClientContext& context) {
  const auto& trailers = context.GetServerTrailingMetadata();
  const auto found = trailers.find("grpc-retry-pushback-ms");
  if (found == trailers.end()) return std::nullopt;
  long value = 0;
  const char* end = found->second.data() + found->second.size();
  const auto [rest, error] = std::from_chars(found->second.data(), end, value);
  if (error != std::errc() || rest != end || value < 0) return std::nullopt;
  return std::chrono::milliseconds(value);
}

}  // namespace

std::unique_ptr<UpstreamStream> UpstreamStream::make(Method method, const UpstreamOptions& options,
                                                     const Credentials& credentials, const std::string& token,
                                                     const std::optional<dial::Route>& route, Callbacks callbacks) {
  std::unique_ptr<UpstreamStream> stream(new UpstreamStream(std::move(callbacks)));
  if (!options.cluster_id.empty()) stream->context_.AddMetadata("clusterid", options.cluster_id);
  if (!token.empty()) stream->context_.AddMetadata("authorization", "Bearer " + token);
  stream->method_ = method;
  stream->channel_ = make_channel(options, credentials, route);
  stream->stub_ = std::make_unique<grpc::GenericStub>(stream->channel_);
  return stream;
}

void UpstreamStream::start() {
  started_ = true;
  stub_->PrepareBidiStreamingCall(&context_, method_ == Method::kSotw ? kSotwMethod : kDeltaMethod, {}, this);
  // Reads and writes are started from the strand, outside any reaction: without the hold gRPC could end the call
  // between.
  AddHold();
  handover_.give();
  StartRead(&incoming_);
  StartCall();
}

bool UpstreamStream::connected() {
  const bool now = channel_->GetState(false) == GRPC_CHANNEL_READY;
  was_connected_ = was_connected_ || now;
  return now;
}

bool UpstreamStream::draining() {
  return !connected() && was_connected_;
}

void UpstreamStream::read() {
  handover_.give();
  StartRead(&incoming_);
}

void UpstreamStream::write(grpc::ByteBuffer buffer) {
  outgoing_.Swap(&buffer);
  handover_.give();
  StartWrite(&outgoing_);
}

void UpstreamStream::half_close() {
  handover_.give();
  StartWritesDone();
}

void UpstreamStream::release() {
  handover_.give();
  RemoveHold();
}

void UpstreamStream::OnReadDone(bool ok) {
  handover_.take();
  grpc::ByteBuffer buffer;
  buffer.Swap(&incoming_);
  callbacks_.read(ok, std::move(buffer));
}

void UpstreamStream::OnWriteDone(bool ok) {
  handover_.take();
  outgoing_.Clear();
  callbacks_.written(ok);
}

void UpstreamStream::OnDone(const grpc::Status& status) {
  handover_.take();
  // The owner may destroy this as soon as it hears of the end.
  const auto ended = ended_;
  const auto done = std::move(callbacks_.done);
  done(status, pushback_of(context_));
  ended->set_value();
}

}  // namespace hawser::xds
