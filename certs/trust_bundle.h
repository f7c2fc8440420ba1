// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"

namespace hawser::certs {

// Who sends a root; everything else is a file's path.
inline constexpr char kFromCa[] = "ca";
inline constexpr char kFromControlPlane[] = "control-plane";

struct TrustedRoot {
  std::string pem;     // normalised
  std::string sha256;  // of its DER, lower-case hex
  std::string subject;
  Loop::Wall not_before;
  Loop::Wall not_after;
  std::set<std::string> sources;            // who sends it now
  std::optional<Loop::Wall> retired_until;  // nobody does any more; kept until then
};

// What outlives a restart.
struct TrustState {
  std::vector<TrustedRoot> roots;
  std::set<std::string> dropped;   // sha256 of those that the operator trusts no more
  std::vector<std::string> of_ca;  // sha256 of those that the CA ever sent, oldest first
};

// What: which roots are trusted, who says so, and for how long: what the CA, files and the control plane send, merged,
// without duplicates, ordered by digest. A root that nobody sends any more is kept as retired for the overlap, because
// peers' certificates by it live that long; only the operator ends one sooner, and for good. Pure; `now` is a clock
// that doesn't jump. Threading: a value.
// Failure: HWS-TR-001 (a source's content is unusable; what it sent before stays in force), HWS-TR-002 (too much).
class TrustBundle {
 public:
  static constexpr std::size_t kMaxRoots = 64;  // of all sources but the CA, whose own bundle is bounded by x509.h
  static constexpr std::size_t kMaxRemembered = 128;

  struct Options {
    std::chrono::seconds overlap{24 * 3600};
    std::vector<std::string> exclude;  // sha256, never trusted
  };

  explicit TrustBundle(Options options, TrustState state = {});

  // All that the source sends now. True: what is trusted has changed.
  Result<bool> set(const std::string& source, const std::string& pem, Loop::Wall now);
  // The source is no more, as if it sent nothing.
  bool forget(const std::string& source, Loop::Wall now);
  // Ends what was retired long enough ago or has itself expired.
  bool advance(Loop::Wall now);
  // When advance() has something to do next.
  std::optional<Loop::Wall> deadline() const;

  bool knows(const std::string& sha256) const;
  bool excluded(const std::string& sha256) const;
  // By the operator, kept over restarts; true: what is trusted has changed.
  bool drop(const std::string& sha256);
  bool allow(const std::string& sha256);

  // In force, in order.
  std::string pem() const;
  // All that are known, the excluded ones included.
  std::vector<TrustedRoot> roots() const;
  std::set<std::string> sources() const;
  TrustState state() const;

  // What a server is verified by that was pinned by `pinned`: without excluded roots; and if the pinned root is one
  // that the mesh's CA ever sent as its own, then by the roots which that CA sends now as well: so the connection
  // outlives a rotation of the mesh's root. Roots of files and of the control plane never vouch for a server. Empty:
  // none is left.
  std::string server_roots(const std::string& pinned) const;

 private:
  void retire(const std::string& source, const std::set<std::string>& still, Loop::Wall now);
  void remember(const std::string& sha256);

  Options options_;
  std::map<std::string, TrustedRoot> roots_;  // by sha256
  std::set<std::string> dropped_;
  std::vector<std::string> of_ca_;
};

}  // namespace hawser::certs
