// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "xds/cache.h"
#include "xds/downstream.h"
#include "xds/hold.h"
#include "xds/outlook.h"
#include "xds/refusals.h"
#include "xds/subscriptions.h"

namespace hawser::xds {

// What: the relay's judgement without its transport: one upstream, a cache, any number of downstreams. It decides what
// each side must be sent next; the caller moves the bytes, one message at a time a side.
// Threading: the relay's strand. Failure: HWS-XDS-013 for a request of a type that isn't the proxy's business.
class Hub {
 public:
  using Id = std::uint64_t;
  // How long names are still subscribed upstream after the proxy that wanted them went away, counted from the moment a
  // proxy is there again: its successor finds them in the cache.
  static constexpr std::chrono::seconds kLinger{60};
  static constexpr std::size_t kMaxAnswers = 256;

  // `eager`: types that are asked for as a whole from the start, whether or not a proxy is there; those that aren't
  // forwardable are the agent's own, and follow the listeners, as a plane expects it.
  explicit Hub(const std::vector<std::string>& eager);

  void open(Id id, std::string generation, Loop::Monotonic now);
  void close(Id id, Loop::Monotonic now);
  void set_serving(std::string generation);
  // The newest stream of the serving generation; as long as none was named, the newest stream.
  std::optional<Id> serving() const;
  std::size_t downstreams() const { return downstreams_.size(); }
  // The serving proxy's; null: there's no stream of it.
  const Refusals* refusals() const;
  // What this proxy gets instead of the plane's own listeners and clusters; null: the plane's own.
  void set_fit(Id id, std::shared_ptr<Fit> fit);
  Fit* fit(Id id) const;

  // How a proxy answered a response, if the request was an answer at all.
  struct Answer {
    std::string type;
    bool accepted = true;
    bool serving = false;
    std::string message;
    bool outstanding = false;  // it still hasn't taken something of this type
  };
  Result<std::optional<Answer>> on_request(Id id, const Request& request, Loop::Monotonic now);
  std::optional<Downstream::Message> next_for(Id id, Loop::Monotonic now);

  // Has this stream upstream asked for the type? What nobody asked for mustn't be answered: an answer would subscribe.
  bool asked(const std::string& type) const { return forwardable(type) && subscriptions_.opened(type); }
  // Is it a type that this host's agent asked for itself, on this stream? Such a message has answer_agent().
  bool for_agent(const std::string& type) const { return !forwardable(type) && subscriptions_.opened(type); }
  void answer_agent(const std::string& type, const std::string& nonce, const std::optional<std::string>& error_detail);
  // Who may get the plane's message unchanged, if it isn't busy; ingest() is told whether it did.
  std::optional<Id> forward_to(const Envelope& envelope) const;
  void ingest(Response response, std::optional<Id> forwarded_to, Loop::Monotonic now);

  // The last-good snapshot takes the plane's place until that has answered; false: it has, so nothing changes. Names
  // that proxies ask for and that it lacks don't exist meanwhile: a proxy that waits for them would never be ready.
  struct Restored {
    std::string type;
    bool wildcard = false;
    std::vector<ResourceBytes> resources;
  };
  bool restore(std::vector<Restored> types, Loop::Monotonic now);
  bool serves_snapshot() const { return serves_snapshot_; }

  // Has the serving proxy taken all that it was sent, so that what it accepted belongs together?
  bool settled() const;
  // The types of which something is accepted, with the cache's revision.
  std::map<std::string, std::uint64_t> accepted_revisions() const;
  // What a snapshot of the type consists of.
  struct AcceptedType {
    bool wildcard = false;
    std::vector<std::pair<std::string, ResourcePtr>> resources;
  };
  AcceptedType accepted(const std::string& type) const;
  Outlook outlook() const;

  void upstream_opened();
  void upstream_closed();
  // Repeated on each stream once the listeners were asked for: istiod ignores it as a stream's first message.
  void set_health(std::optional<std::string> error_detail);
  std::optional<Request> next_upstream();

  std::optional<Loop::Monotonic> deadline() const;
  void on_time(Loop::Monotonic now);

  const Cache& cache() const { return cache_; }
  // What is held back is served from the cache later; upstream never waits for it.
  HoldBook& holds() { return holds_; }
  const HoldBook& holds() const { return holds_; }
  std::size_t streams_of(const std::string& generation) const;

 private:
  struct Peer {
    std::string generation;
    Downstream downstream;
    Refusals refusals;
  };
  struct Lingering {
    bool all = false;
    std::unordered_set<std::string> names;
  };

  std::optional<Answer> answer(Id id, Peer& peer, const Request& request);
  void answer_plane(const std::string& type, const Delivery& delivery, const std::optional<std::string>& error_detail);
  void queue_answer(const std::string& type, const std::string& nonce, const std::optional<std::string>& error_detail);
  void apply(const std::string& type, const InterestChange& change);
  void drop_name(const std::string& type, const std::string& name);
  void drop_all(const std::string& type);
  void release_lingering();
  void answer_absent(Peer& peer, const std::string& type);
  void note_rejection(const std::string& type, bool outstanding);
  void drop_unwanted_restored();

  Cache cache_;
  Subscriptions subscriptions_;
  HoldBook holds_;
  std::map<Id, Peer> downstreams_;
  std::optional<std::string> serving_generation_;
  std::map<std::string, Lingering> lingering_;
  Loop::Monotonic linger_until_{};

  bool plane_answered_ = false;
  bool serves_snapshot_ = false;
  // Those that a snapshot brought; what nobody has asked for goes with the lingering ones.
  std::map<std::string, std::vector<std::string>> restored_;
  // What the serving proxy last rejected. As long as there's any, it may still use what it doesn't ask for any more.
  std::unordered_set<std::string> rejected_;

  std::uint64_t stream_ = 0;
  bool upstream_open_ = false;
  // Bounded: a plane that sends and doesn't read gets one answer a type.
  std::deque<Request> answers_;
  // By type, of this stream: what a rejection of content from the cache refers to.
  std::map<std::string, std::string> answered_nonces_;
  std::optional<Request> health_;
  bool health_due_ = false;
};

}  // namespace hawser::xds
