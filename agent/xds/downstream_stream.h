// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "xds/downstream_user.h"
#include "xds/handover.h"
#include "xds/mailbox.h"

namespace hawser::xds {

// What: one stream that a client opened: moves buffers between gRPC and who judges over its protocol in the core. gRPC
// deletes it after finish().
// Threading: the methods on the strand, gRPC's callbacks only post. The strand is the only one to call finish(), so the
// object is there for as long as the strand uses it. Failure: read and write report !ok, then finish() is due.
class DownstreamStream final : public grpc::ServerGenericBidiReactor {
 public:
  DownstreamStream(grpc::GenericCallbackServerContext& context, std::shared_ptr<Mailbox> mailbox, std::uint64_t id,
                   Protocol protocol);

  // Hands itself over; refuses the stream when there is none any more.
  void announce(std::string generation);

  // One read and one write at a time; nothing after finish(), which comes when no write is under way.
  void read();
  void write(grpc::ByteBuffer buffer);
  void cancel() { context_.TryCancel(); }
  void finish(const grpc::Status& status);

 private:
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;
  bool tell(std::function<void(DownstreamUser&)> work);

  Handover handover_;
  grpc::GenericCallbackServerContext& context_;
  std::shared_ptr<Mailbox> mailbox_;
  std::uint64_t id_;
  Protocol protocol_;
  grpc::ByteBuffer incoming_;
  grpc::ByteBuffer outgoing_;
};

// What: what gRPC's server calls for each stream: ADS, and Unimplemented for anything else. Programs that aren't the
// proxy get state of the world only: a delta stream may speak for the host. Threading: gRPC's. It must outlive the
// server.
class RelayService final : public grpc::CallbackGenericService {
 public:
  enum class Clients { kProxies, kPrograms };
  RelayService(std::shared_ptr<Mailbox> mailbox, Clients clients) : mailbox_(std::move(mailbox)), clients_(clients) {}
  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext* context) override;

 private:
  std::shared_ptr<Mailbox> mailbox_;
  Clients clients_;
};

}  // namespace hawser::xds
