// SPDX-License-Identifier: Apache-2.0
#include "xds/sotw_sessions.h"

#include <utility>
#include <vector>

#include "base/log.h"
#include "xds/downstream_stream.h"
#include "xds/sotw_wire.h"

namespace hawser::xds {
namespace {

constexpr std::chrono::milliseconds kBackoffBase{200};
constexpr std::chrono::milliseconds kBackoffCap{15'000};

}  // namespace

SotwSessions::SotwSessions(Loop& strand, Metrics& metrics, Needs needs)
    : strand_(strand),
      metrics_(metrics),
      needs_(std::move(needs)),
      pace_(Backoff(kBackoffBase, kBackoffCap, random_seed())) {}

void SotwSessions::start(UpstreamOptions options, Post post) {
  pace_ = OpenPace(Backoff(options.backoff_base, options.backoff_cap, random_seed()));
  options_ = std::move(options);
  post_ = std::move(post);
}

void SotwSessions::stop() {
  stopping_ = true;
  std::vector<SotwSession*> all;
  for (auto& [id, entry] : sessions_) all.push_back(entry.session.get());
  for (auto* session : all) session->end(grpc::Status(grpc::UNAVAILABLE, "the relay is stopping"), true);
}

void SotwSessions::abandon() {
  stopping_ = true;
  for (auto& [id, entry] : sessions_) entry.session->abandon();
  sessions_.clear();
}

SotwSession* SotwSessions::find(std::uint64_t id) {
  const auto found = sessions_.find(id);
  return found == sessions_.end() ? nullptr : found->second.session.get();
}

// Clients.

void SotwSessions::on_downstream_opened(std::uint64_t id, DownstreamStream& stream, const std::string& generation) {
  if (stopping_ || !options_) {
    stream.finish(grpc::Status(grpc::UNAVAILABLE, stopping_ ? "the relay is stopping" : "the relay isn't up yet"));
    return;
  }
  if (sessions_.size() >= kMaxStreams) {
    metrics_.add("hawser_xds_passed_through_streams_total", "State-of-the-world streams of clients, by their end.",
                 {{"end", "refused"}});
    stream.finish(grpc::Status(grpc::RESOURCE_EXHAUSTED,
                               std::string("HWS-XDS-031") + ": " + std::to_string(kMaxStreams) +
                                   " state-of-the-world streams are passed through already; use one xDS client a "
                                   "program"));
    return;
  }
  SotwSession::Post post = [post = post_, id](std::function<void(SotwSession&)> work) {
    post([id, work = std::move(work)](SotwSessions& sessions) {
      if (auto* session = sessions.find(id)) work(*session);
    });
  };
  auto& entry = sessions_[id];
  entry.generation = generation;
  entry.session = std::make_unique<SotwSession>(id, stream, static_cast<SotwSession::Owner&>(*this), std::move(post));
  log::info("a state-of-the-world stream is passed through", {{"stream", std::to_string(id)}});
  entry.session->start();
  publish();
}

void SotwSessions::on_downstream_read(std::uint64_t id, bool ok, grpc::ByteBuffer buffer) {
  if (auto* session = find(id)) session->on_read(ok, buffer);
}

void SotwSessions::on_downstream_written(std::uint64_t id, bool ok) {
  if (auto* session = find(id)) session->on_written(ok);
}

void SotwSessions::on_downstream_cancelled(std::uint64_t id) {
  if (auto* session = find(id)) session->on_cancelled();
}

// The plane.

void SotwSessions::on_upstream_wanted(std::uint64_t id) {
  const auto now = strand_.now();
  sessions_.at(id).timer = strand_.after(Loop::Duration(pace_.book(now) - now), [this, id] {
    needs_.material([this, id](const hawser::xds::Material& material) { on_material(id, material); });
  });
}

void SotwSessions::on_material(std::uint64_t id, const hawser::xds::Material& material) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end() || !found->second.session->waiting()) return;
  if (material.credentials.key_pem.empty() && (!material.token || material.token->empty())) {
    found->second.session->end(
        grpc::Status(grpc::UNAVAILABLE, "HWS-XDS-008: the host has neither a certificate nor a token to show"), false);
    return;
  }
  found->second.opened_at = strand_.now();
  found->second.session->open(*options_, material);
}

std::string SotwSessions::node_for(const std::string& client_node) {
  return node_for_client(needs_.node(), client_node);
}

std::shared_ptr<Fit> SotwSessions::fit_for(std::uint64_t id, const std::string& client_node) {
  return needs_.fit ? needs_.fit(client_node, sessions_.at(id).generation) : nullptr;
}

void SotwSessions::on_upstream_ended(std::uint64_t id, bool asked, const grpc::Status& status) {
  const Entry& entry = sessions_.at(id);
  const auto now = strand_.now();
  if (entry.session->answered() && now - entry.opened_at >= OpenPace::kHealthyAfter) {
    pace_.on_plane_served();
  } else if (!asked) {
    pace_.on_plane_failed(now);
  }
  if (asked) return;
  log::info("the control plane ended a passed-through stream",
            {{"stream", std::to_string(id)}, {"cause", status.error_message()}});
}

void SotwSessions::on_over(std::uint64_t id) {
  sessions_.erase(id);
  metrics_.add("hawser_xds_passed_through_streams_total", "State-of-the-world streams of clients, by their end.",
               {{"end", "over"}});
  publish();
}

void SotwSessions::publish() {
  metrics_.set("hawser_xds_passed_through_streams", "State-of-the-world streams that are passed through.", {},
               static_cast<double>(sessions_.size()));
  needs_.changed();
}

}  // namespace hawser::xds
