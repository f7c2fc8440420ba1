// SPDX-License-Identifier: Apache-2.0
// broker.sock: what a hawserd that somebody took over may send to the program with the capabilities.
#include "base/frame.h"
#include "broker/intent_proto.h"
#include "hawser/broker.pb.h"
#include "netfilter/evaluate.h"
#include "targets.h"

namespace hawser::fuzz {
namespace {

using netfilter::Packet;

constexpr std::size_t kMaxFrame = 1U << 20U;
constexpr std::uint32_t kAgent = 881;

// Whatever is asked for, nobody is locked out.
void check_plan(const netfilter::Plan& plan) {
  Packet packet;
  packet.destination = netfilter::parse_cidr("10.0.0.1").value();
  packet.destination_port = 22;
  require(!netfilter::evaluate(plan, packet).captured(), "SSH from this host is left alone");
  packet.outgoing = false;
  packet.local = true;
  require(!netfilter::evaluate(plan, packet).captured(), "SSH to this host is left alone");
  packet.destination_port = 15020;
  require(!netfilter::evaluate(plan, packet).captured(), "hawserd's own port is left alone");
  Packet metadata;
  metadata.destination = netfilter::parse_cidr("169.254.169.254").value();
  metadata.destination_port = 80;
  require(!netfilter::evaluate(plan, metadata).captured(), "the cloud's metadata is left alone");
}

void check_intent(const broker::v1::Intent& asked) {
  auto intent = broker::to_intent(asked);
  broker::v1::Intent once;
  broker::to_proto(intent, once);
  broker::v1::Intent again;
  broker::to_proto(broker::to_intent(once), again);
  require(once.SerializeAsString() == again.SerializeAsString(), "what is stored is what was asked for");
  intent.exempt_uids.push_back(kAgent);
  const auto plan = netfilter::compile(intent);
  if (plan) check_plan(*plan);
}

}  // namespace

void broker(std::string_view bytes) {
  // As the server reads: frames, in pieces.
  frame::Reader reader(kMaxFrame);
  const std::size_t half = bytes.size() / 2;
  for (const auto piece : {bytes.substr(0, half), bytes.substr(half)}) {
    if (!reader.feed(piece)) return;
    std::string payload;
    while (reader.next(payload)) {
      require(payload.size() <= kMaxFrame, "a frame over the limit isn't read");
      broker::v1::Request request;
      if (request.ParseFromString(payload) && request.has_plan()) check_intent(request.plan().intent());
    }
  }
}

}  // namespace hawser::fuzz
