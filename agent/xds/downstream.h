// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/loop.h"
#include "xds/cache.h"
#include "xds/types.h"
#include "xds/wire.h"

namespace hawser::xds {

class Fit;

// How a request changed what one downstream wants of one type.
struct InterestChange {
  std::vector<std::string> added;
  std::vector<std::string> removed;
  bool all_added = false;
  bool all_removed = false;
};

// One response on its way to a downstream, until that answers.
struct Delivery {
  std::string nonce;
  bool from_plane = false;   // the plane's own message: the answer goes upstream
  std::uint64_t stream = 0;  // the upstream stream that it came by; nonces never cross streams
  struct Item {
    std::string name;
    ResourcePtr resource;
    Cache::Place place;
    bool first = false;  // the proxy had none of that name
  };
  std::vector<Item> resources;
  std::vector<std::string> removed;
  std::size_t bytes = 0;  // of its resources
};

// What: what one delta stream of a proxy wants, was sent, and must be sent next; it knows nothing of transport.
// The rules that keep Envoy from hanging live here: what is asked for again is sent again; identical resources that the
// plane repeats are sent on; a changed cluster is followed by its endpoints.
// Threading: the relay's strand. Failure: none. Bounded: by the names asked for and by what is unanswered.
class Downstream {
 public:
  // Endpoints that the plane hasn't sent by then are replayed: a changed cluster warms until it gets some, and Envoy
  // doesn't ask again for a name that it already subscribes to.
  static constexpr std::chrono::milliseconds kReplayAfter{300};
  // A proxy that comes back holding names we don't know of: they are removed when the plane has had this long to name
  // them, since it may answer "all" in several messages.
  static constexpr std::chrono::milliseconds kSettle{1000};
  // A proxy that doesn't answer is sent no more of that type: what it's owed is kept as names, not as bytes.
  static constexpr std::size_t kMaxUnanswered = 256;
  static constexpr std::size_t kMaxUnansweredBytes = std::size_t{64} << 20;
  static constexpr std::size_t kChunkBytes = std::size_t{4} << 20;

  InterestChange on_request(const Request& request, const Cache& cache, Loop::Monotonic now);
  // The delivery that this nonce answers; nullopt for a stale nonce.
  std::optional<Delivery> take_delivery(const std::string& type, const std::string& nonce);

  // What it gets of listeners and clusters, if that isn't what the plane sent.
  void set_fit(std::shared_ptr<Fit> fit) { fit_ = std::move(fit); }
  Fit* fit() const { return fit_.get(); }

  bool wants(const std::string& type, const std::string& name) const;
  // Something about this resource must be sent; a no-op if the downstream doesn't want it.
  void mark(const std::string& type, const std::string& name);
  // The plane has answered "all" of this type for the first time.
  void on_synced(const std::string& type, Loop::Monotonic now);

  // The cache now holds a snapshot of this type. A proxy that brought its own state keeps it: that may be newer.
  void on_restored(const std::string& type, const Cache& cache);
  // Names that it waits for, because nobody has said anything about them; none for a proxy that brought its own state.
  std::vector<std::string> waiting(const std::string& type, const Cache& cache) const;
  // Has it answered all that it was sent, and does it wait for nothing?
  bool settled(const Cache& cache) const;

  // May the plane's own message go to this downstream as it is, as far as this side is concerned?
  struct Wanted {
    bool all = false;
    std::size_t names = 0;
  };
  std::optional<Wanted> can_forward(const std::string& type) const;
  // The plane's message was forwarded.
  void on_forwarded(const std::string& type, Delivery delivery, Loop::Monotonic now);

  struct Message {
    std::string type;
    std::string bytes;
  };
  // `withheld`: a type that nothing is sent of now; it stays due.
  std::optional<Message> next(const Cache& cache, Loop::Monotonic now, std::string_view withheld = {});

  std::optional<Loop::Monotonic> deadline() const;
  // Marks what has become due; next() then has it.
  void on_time(const Cache& cache, Loop::Monotonic now);

  // Everything wanted, for handing the interest over when the stream ends.
  struct Interest {
    bool all = false;
    std::vector<std::string> names;
  };
  std::map<std::string, Interest, TypeOrder> interests() const;
  std::vector<std::pair<std::string, Delivery>> take_deliveries();

 private:
  struct Sent {
    std::uint64_t id = 0;
    std::uint64_t serial = 0;
  };
  struct OfType {
    bool all = false;
    bool brought = false;  // its first request told versions: it holds resources of an earlier stream
    std::unordered_set<std::string> names;
    std::unordered_map<std::string, Sent> sent;
    std::unordered_set<std::string> came_with;  // what it had from an earlier stream and wasn't sent on this one
    std::set<std::string> pending;
    // The first answer to "all" is due even if it's empty: Envoy waits for it.
    bool greet = false;
    // Names that the proxy brought along from an earlier stream and that the cache doesn't know.
    std::unordered_set<std::string> held;
    std::optional<Loop::Monotonic> held_until;
    std::deque<Delivery> unanswered;
    std::size_t unanswered_bytes = 0;
    bool full() const { return unanswered.size() >= kMaxUnanswered || unanswered_bytes >= kMaxUnansweredBytes; }
    bool wants(const std::string& name) const { return all || names.contains(name); }
  };
  struct ChangedClusters {
    Loop::Monotonic due;
    std::uint64_t serial = 0;
    std::vector<std::string> names;
  };

  static void start_all(OfType& of_type, const std::string& type, const Cache& cache, Loop::Monotonic now);
  void note_sent(const std::string& type, OfType& of_type, Delivery& delivery, Loop::Monotonic now);
  static void await_answer(OfType& of_type, Delivery delivery);
  void replay_endpoints(const ChangedClusters& changed);
  void add(ResponseBuilder& builder, const std::string& type, const Resource& resource) const;
  std::optional<Message> build(const std::string& type, OfType& of_type, const Cache& cache, Loop::Monotonic now);

  std::map<std::string, OfType, TypeOrder> types_;
  std::vector<ChangedClusters> changed_clusters_;
  std::uint64_t serial_ = 0;
  std::shared_ptr<Fit> fit_;
};

}  // namespace hawser::xds
