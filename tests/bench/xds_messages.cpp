// SPDX-License-Identifier: Apache-2.0
#include "xds_messages.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include <map>
#include <vector>

#include "xds/wire.h"

namespace hawser::bench {
namespace {

std::string bytes_of(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string out;
  if (!buffer.Dump(&slices).ok()) return out;
  for (const auto& slice : slices) out.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return out;
}

void put_field(std::string& out, int field, const std::string& value) {
  out.push_back(static_cast<char>(field << 3 | 2));
  for (std::size_t n = value.size();; n >>= 7) {
    out.push_back(static_cast<char>((n & 0x7f) | (n >= 0x80 ? 0x80 : 0)));
    if (n < 0x80) break;
  }
  out.append(value);
}

// The fields of a message that are strings, bytes or messages.
std::map<int, std::vector<std::string>> fields_of(grpc::ByteBuffer& buffer) {
  using google::protobuf::internal::WireFormatLite;
  grpc::ProtoBufferReader reader(&buffer);
  google::protobuf::io::CodedInputStream in(&reader);
  std::map<int, std::vector<std::string>> out;
  while (const std::uint32_t tag = in.ReadTag()) {
    if (WireFormatLite::GetTagWireType(tag) != WireFormatLite::WIRETYPE_LENGTH_DELIMITED) {
      if (!WireFormatLite::SkipField(&in, tag)) break;
      continue;
    }
    std::uint32_t size = 0;
    std::string value;
    if (!in.ReadVarint32(&size) || !in.ReadString(&value, static_cast<int>(size))) break;
    out[WireFormatLite::GetTagFieldNumber(tag)].push_back(std::move(value));
  }
  return out;
}

std::string first(const std::vector<std::string>& values) {
  return values.empty() ? std::string() : values.front();
}

}  // namespace

grpc::ByteBuffer buffer_of(const std::string& bytes) {
  const grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

std::string make_push(Variant variant, const Push& push) {
  std::string filler(kResourceBytes, 'x');
  filler.replace(0, push.version.size(), push.version);
  const auto name = [](std::size_t i) {
    return "outbound|80||service-" + std::to_string(i) + ".demo.svc.cluster.local";
  };
  std::string out;
  xds::ResponseBuilder builder(push.type);
  const auto size = [&] { return variant == Variant::kDelta ? builder.size() : out.size(); };
  for (std::size_t i = push.from; push.bytes > 0 && (i == push.from || size() < push.bytes); ++i) {
    std::string any, body;
    put_field(any, 1, push.type);
    put_field(any, 2, filler);
    if (variant == Variant::kSotw) {
      put_field(out, 2, any);
      continue;
    }
    put_field(body, 3, name(i));
    put_field(body, 2, any);
    builder.add(push.version, body);
  }
  if (variant == Variant::kDelta) return builder.finish(push.nonce);
  put_field(out, 1, push.version);
  put_field(out, 4, push.type);
  put_field(out, 5, push.nonce);
  return out;
}

Seen see(Variant variant, grpc::ByteBuffer& buffer) {
  if (variant == Variant::kSotw) {
    auto fields = fields_of(buffer);
    return {first(fields[4]), first(fields[5]), first(fields[1]), fields[2].size()};
  }
  grpc::ProtoBufferReader reader(&buffer);
  const auto response = xds::parse_response(reader);
  if (!response) return {};
  // An agent may have versions of its own; the resource itself says which push it is of.
  std::string version = "-";
  if (!response->resources.empty()) {
    const std::string& body = response->resources.back().body;
    const auto begin = body.find('#');
    if (begin != std::string::npos) version = body.substr(begin, body.find('x', begin) - begin);
  }
  return {response->envelope.type_url, response->envelope.nonce, version, response->resources.size()};
}

std::string make_request(Variant variant, const Asked& asked, const std::string& version) {
  if (variant == Variant::kDelta) {
    xds::Request request;
    request.type_url = asked.type;
    request.nonce = asked.nonce;
    request.node = asked.node;
    return xds::build_request(request);
  }
  std::string out;
  if (!version.empty()) put_field(out, 1, version);
  if (!asked.node.empty()) put_field(out, 2, asked.node);
  put_field(out, 4, asked.type);
  if (!asked.nonce.empty()) put_field(out, 5, asked.nonce);
  return out;
}

Asked read_request(Variant variant, grpc::ByteBuffer& buffer) {
  if (variant == Variant::kSotw) {
    auto fields = fields_of(buffer);
    return {first(fields[4]), first(fields[5]), first(fields[2])};
  }
  const auto request = xds::parse_request(bytes_of(buffer));
  return request ? Asked{request->type_url, request->nonce, request->node} : Asked{};
}

}  // namespace hawser::bench
