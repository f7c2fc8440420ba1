// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace hawser::proxy {

enum class ProxyState { kPreInitializing, kInitializing, kLive, kDraining };
std::string_view proxy_state_name(ProxyState state);  // as the proxy spells it: LIVE, …

struct Listener {
  std::string name;
  std::string address;
  std::uint16_t port = 0;
  // Does the kernel have a listening socket there? A drained proxy goes on naming listeners whose sockets it has
  // closed.
  bool bound = true;
};

// Open connections of users at a listener.
struct ListenerConnections {
  std::string listener;  // as the proxy's statistics name it
  std::uint64_t connections = 0;
  bool inbound = false;  // callers of this host's services; else its own programs, as callers
};

// What one look at a generation shows.
struct ProbeResult {
  ProxyState state = ProxyState::kPreInitializing;
  std::string version;
  unsigned concurrency = 0;
  std::chrono::seconds uptime{0};
  unsigned epoch = 0;
  // A successor is on its way, or died on it: no other one is accepted. Told by Envoy 1.38.2 and later.
  bool initializing = false;
  // Looked at only in LIVE:
  bool ready = false;
  std::vector<Listener> listeners;
};

struct CertificateInUse {
  std::string serial;   // lower-case hex
  std::string uri;      // first URI name
  std::string expires;  // RFC 3339
};

// What a hand-over must know of a generation that is LIVE.
struct Inspection {
  std::string unshared;             // what another process can't listen on beside it, and why; empty: it can on all
  std::string hot_restart_version;  // empty: it doesn't tell
  std::size_t certificates = 0;     // that it presents
  std::string expired;              // the serial of one that is over
  bool workers = false;             // do they run?
};

enum class DrainKind {
  kClosing,         // listeners are closed when the drain time is over
  kStillAccepting,  // never: who ends it decides when
};

// What a kind of proxy can. Nobody asks it for the rest, and `auto` doesn't choose it.
struct Capabilities {
  bool hot_restart = false;          // a next epoch that inherits the listening sockets
  bool side_by_side = false;         // two families at once
  bool drain = false;                // clients are told to go elsewhere
  bool connection_count = false;     // of users
  bool waits_for_listeners = false;  // it isn't LIVE before it was given its listeners, so that they can be held back
  bool worker_request = false;       // a worker of one generation alone can be asked
  bool data_path_probe = false;      // probe_data()
  bool flush_mark = false;           // it tells when it has flushed its counters
  bool stand_in = false;             // for a predecessor that is lost
};

// Whoever holds it keeps a generation from ending because its predecessor did.
struct StandIn {
  virtual ~StandIn() = default;
};

// What: what a kind of proxy must offer to be supervised; Envoy is one (envoy_driver.h). Generations are named, and may
// be asked for while several live. Starting and ending them is the GenerationHost's. Threading: on the loop; each
// callback runs once, on the loop, maybe at once; those of a driver that is destroyed never. Failure: the driver's own
// ids. Every call has a time limit.
class ProxyDriver {
 public:
  template <typename T>
  using Done = std::function<void(Result<T>)>;

  virtual ~ProxyDriver() = default;
  virtual Capabilities capabilities() const = 0;
  // Beyond those that name files, which are the broker's. `workers`: as many as the generation has that this one takes
  // over from; 0: as configured.
  virtual std::vector<std::string> args(unsigned workers) const = 0;
  virtual void probe(const std::string& generation, Done<ProbeResult> done) = 0;
  // The same question to one that was LIVE when probed, asked again and again for weeks: what can't have changed while
  // it still says that it's ready (version, concurrency, epoch) may be what it was.
  virtual void watch(const std::string& generation, Done<ProbeResult> done) { probe(generation, std::move(done)); }
  // Why it isn't LIVE, or lacks a listener, in words for the operator; empty if it can't be told.
  virtual void diagnose(const std::string& generation, std::function<void(std::string)> done) = 0;
  virtual void inspect(const std::string& generation, Done<Inspection> done) = 0;
  // Tells clients to go elsewhere; one-way.
  virtual void begin_drain(const std::string& generation, DrainKind kind, std::function<void(Status)> done) = 0;
  // Connections of users; not those of probes, scrapers and its own administration.
  virtual void count_connections(const std::string& generation, Done<std::uint64_t> done) = 0;
  // Does a worker answer a connection that comes as a user's does? An error of kDeadlineExceeded or kUnavailable says
  // that none does; another one, that it can't be told.
  virtual void probe_data(const std::string& generation, std::function<void(Status)> done) = 0;
  // Does a worker of this very generation answer, whoever else listens where users come in?
  virtual void ask_worker(const std::string& generation, std::function<void(Status)> done) = 0;
  virtual void scrape(const std::string& generation, Done<std::string> done) = 0;
  // A number that changes whenever the proxy has flushed its counters: from then on, what it counts is what a successor
  // is given.
  virtual void flush_mark(const std::string& generation, Done<std::uint64_t> done) = 0;
  // For the predecessor of a generation, which ended before its time. None: not needed, or it can't be.
  virtual std::unique_ptr<StandIn> stand_in(const std::string& generation) = 0;
  // What listens on this host on these ports, as the kernel tells it, whoever it is.
  virtual std::vector<Listener> listening(const std::vector<std::uint16_t>& ports) const = 0;
};

}  // namespace hawser::proxy
