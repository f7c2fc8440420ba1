// SPDX-License-Identifier: Apache-2.0
#include "xds/wire.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "envoy/service/discovery/v3/discovery.pb.h"
#include "xds/wire_cursor.h"

namespace hawser::xds {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

constexpr std::uint32_t tag_of(int field) {
  return static_cast<std::uint32_t>(field) << 3 | WireFormatLite::WIRETYPE_LENGTH_DELIMITED;
}

// DeltaDiscoveryResponse.
constexpr std::uint32_t kSystemVersion = tag_of(1);
constexpr std::uint32_t kResources = tag_of(2);
constexpr std::uint32_t kTypeUrl = tag_of(4);
constexpr std::uint32_t kNonce = tag_of(5);
constexpr std::uint32_t kRemoved = tag_of(6);
// Resource, by number.
constexpr std::uint32_t kResourceVersion = 1;
constexpr std::uint32_t kResourceBody = 2;
constexpr std::uint32_t kResourceName = 3;

void put_varint(std::string& out, std::uint64_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>((value & 0x7f) | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

void put_bytes(std::string& out, std::uint32_t tag, std::string_view value) {
  put_varint(out, tag);
  put_varint(out, value.size());
  out.append(value);
}

bool read_length(CodedInputStream& in, int& length) {
  std::uint32_t value = 0;
  if (!in.ReadVarint32(&value) || value > static_cast<std::uint32_t>(std::numeric_limits<int>::max())) return false;
  length = static_cast<int>(value);
  return true;
}

// Appends from the input's own blocks: a resize would first fill with zeros what is overwritten at once.
bool append_raw(CodedInputStream& in, int size, std::string& out) {
  while (size > 0) {
    const void* data = nullptr;
    int there = 0;
    if (!in.GetDirectBufferPointer(&data, &there)) return false;
    const int taken = std::min(size, there);
    out.append(static_cast<const char*>(data), static_cast<std::size_t>(taken));
    if (!in.Skip(taken)) return false;
    size -= taken;
  }
  return true;
}

// Not CodedInputStream::ReadString: that reserves what the length says, which in a few bytes may say a gigabyte.
bool read_string(CodedInputStream& in, std::string& out) {
  int length = 0;
  out.clear();
  return read_length(in, length) && append_raw(in, length, out);
}

template <typename Visit>
bool each_field(CodedInputStream& in, Visit visit) {
  for (;;) {
    const std::uint32_t tag = in.ReadTag();
    if (tag == 0) return in.ConsumedEntireMessage();
    if (!visit(tag)) return false;
  }
}

// Takes the version out of a serialised Resource, in place, and looks at the rest.
bool split_resource(ResourceBytes& out) {
  out.heartbeat = true;
  std::size_t kept = 0;
  WireCursor cursor(out.body);
  while (const auto field = cursor.next()) {
    if (field->is_bytes && field->number == kResourceVersion) {
      out.version = field->value;
      continue;
    }
    if (field->is_bytes && field->number == kResourceName) out.name = field->value;
    if (field->is_bytes && field->number == kResourceBody) out.heartbeat = false;
    // The cursor never looks back.
    if (out.body.data() + kept != field->whole.data())
      std::memmove(out.body.data() + kept, field->whole.data(), field->whole.size());
    kept += field->whole.size();
  }
  out.body.resize(kept);
  if (kept < out.body.capacity() / 2) out.body.shrink_to_fit();
  return !cursor.malformed();
}

bool read_resource(CodedInputStream& in, ResourceBytes& out) {
  int length = 0;
  if (!read_length(in, length)) return false;
  // One allocation, unless the length is a lie.
  if (length < (1 << 26)) out.body.reserve(static_cast<std::size_t>(length));
  return append_raw(in, length, out.body) && split_resource(out);
}

Error malformed(std::string_view what) {
  return Error(Code::kInvalidArgument, "HWS-XDS-011", std::string(what) + " isn't a delta discovery message",
               "the peer doesn't speak ADS v3 (delta), or something between rewrites the stream");
}

using envoy::service::discovery::v3::DeltaDiscoveryRequest;

}  // namespace

Result<Request> parse_request(std::string_view bytes) {
  DeltaDiscoveryRequest message;
  if (bytes.size() > static_cast<std::size_t>(std::numeric_limits<int>::max()) ||
      !message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return malformed("the proxy's request");
  }
  Request out;
  out.type_url = std::move(*message.mutable_type_url());
  out.nonce = std::move(*message.mutable_response_nonce());
  for (auto& name : *message.mutable_resource_names_subscribe()) out.subscribe.push_back(std::move(name));
  for (auto& name : *message.mutable_resource_names_unsubscribe()) out.unsubscribe.push_back(std::move(name));
  for (const auto& [name, version] : message.initial_resource_versions()) out.initial_versions.emplace(name, version);
  if (message.has_error_detail()) out.error_detail = message.error_detail().SerializeAsString();
  if (message.has_node()) out.node = message.node().SerializeAsString();
  return out;
}

std::string build_request(const Request& request) {
  DeltaDiscoveryRequest message;
  message.set_type_url(request.type_url);
  message.set_response_nonce(request.nonce);
  for (const auto& name : request.subscribe) message.add_resource_names_subscribe(name);
  for (const auto& name : request.unsubscribe) message.add_resource_names_unsubscribe(name);
  for (const auto& [name, version] : request.initial_versions)
    (*message.mutable_initial_resource_versions())[name] = version;
  if (request.error_detail) message.mutable_error_detail()->ParseFromString(*request.error_detail);
  if (!request.node.empty()) message.mutable_node()->ParseFromString(request.node);
  return message.SerializeAsString();
}

std::string make_error_detail(int code, const std::string& message) {
  google::rpc::Status status;
  status.set_code(code);
  status.set_message(message);
  return status.SerializeAsString();
}

std::string error_message(const std::string& error_detail) {
  google::rpc::Status status;
  return status.ParseFromString(error_detail) ? status.message() : "unreadable error detail";
}

std::optional<std::string> node_identity(const std::string& bytes) {
  envoy::config::core::v3::Node node;
  if (!node.ParseFromString(bytes)) return std::nullopt;
  envoy::config::core::v3::Node known;
  known.set_id(node.id());
  known.set_cluster(node.cluster());
  if (node.has_metadata()) *known.mutable_metadata() = node.metadata();
  if (node.has_locality()) *known.mutable_locality() = node.locality();
  std::string out;
  {
    google::protobuf::io::StringOutputStream stream(&out);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    known.SerializeToCodedStream(&coded);
  }
  return out;
}

Result<Envelope> scan_envelope(google::protobuf::io::ZeroCopyInputStream& input) {
  CodedInputStream in(&input);
  Envelope out;
  const bool ok = each_field(in, [&](std::uint32_t tag) {
    if (tag == kTypeUrl) return read_string(in, out.type_url);
    if (tag == kNonce) return read_string(in, out.nonce);
    if (tag == kSystemVersion) return read_string(in, out.system_version);
    if (tag == kResources) ++out.resources;
    return WireFormatLite::SkipField(&in, tag);
  });
  if (!ok || out.type_url.empty()) return malformed("the control plane's response");
  return out;
}

Result<Response> parse_response(google::protobuf::io::ZeroCopyInputStream& input, std::size_t resources) {
  CodedInputStream in(&input);
  Response out;
  out.resources.reserve(resources);
  const bool ok = each_field(in, [&](std::uint32_t tag) {
    if (tag == kResources) return read_resource(in, out.resources.emplace_back());
    if (tag == kTypeUrl) return read_string(in, out.envelope.type_url);
    if (tag == kNonce) return read_string(in, out.envelope.nonce);
    if (tag == kRemoved) return read_string(in, out.removed.emplace_back());
    return WireFormatLite::SkipField(&in, tag);
  });
  if (!ok || out.envelope.type_url.empty()) return malformed("the control plane's response");
  return out;
}

ResponseBuilder::ResponseBuilder(std::string_view type_url) {
  put_bytes(bytes_, kTypeUrl, type_url);
}

void ResponseBuilder::add(std::string_view version, std::string_view body) {
  std::string head;
  put_bytes(head, tag_of(kResourceVersion), version);
  put_varint(bytes_, kResources);
  put_varint(bytes_, head.size() + body.size());
  bytes_.append(head).append(body);
}

void ResponseBuilder::remove(std::string_view name) {
  put_bytes(bytes_, kRemoved, name);
}

std::string ResponseBuilder::finish(std::string_view nonce) {
  // The version that Envoy shows in its config dump.
  put_bytes(bytes_, kSystemVersion, nonce);
  put_bytes(bytes_, kNonce, nonce);
  return std::move(bytes_);
}

}  // namespace hawser::xds
