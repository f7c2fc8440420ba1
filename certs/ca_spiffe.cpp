// SPDX-License-Identifier: Apache-2.0
#include "certs/ca_spiffe.h"

#include <algorithm>
#include <optional>

#include "base/backoff.h"
#include "base/log.h"
#include "certs/der.h"
#include "certs/utc.h"
#include "certs/workload_api.h"

namespace hawser::certs {
namespace {

// Of the offered ones, in a message.
constexpr std::size_t kMostNamed = 5;

const Svid* choose(const SvidUpdate& update, const ExpectedId& expected) {
  const Svid* out = nullptr;
  for (const auto& svid : update.svids) {
    if (svid.spiffe_id == expected.spiffe_id) return &svid;
    if (out == nullptr && expected.matches(svid.spiffe_id)) out = &svid;
  }
  return out;
}

Error none_is_ours(const SvidUpdate& update, const std::string& wanted) {
  std::string offered;
  for (std::size_t i = 0; i < std::min(update.svids.size(), kMostNamed); ++i)
    offered += (i == 0 ? "" : ", ") + update.svids[i].spiffe_id;
  if (update.svids.size() > kMostNamed) offered += ", …";
  return {Code::kFailedPrecondition, "HWS-CA-032",
          "this host is " + wanted + ", but the SPIFFE agent offers " + (offered.empty() ? "nothing" : offered),
          "set identity.spiffe_id to the one that is meant, or register " + wanted + " for hawserd's user"};
}

Error unusable(const Error& cause) {
  Error out(Code::kFailedPrecondition, "HWS-CA-033", "what the SPIFFE agent sends can't be used",
            "look at the SPIFFE agent's log");
  out.because(cause);
  return out;
}

Result<IdentityPtr> identity_of(const Svid& svid, const ExpectedId& expected) {
  auto chain = certificates_from_der(svid.chain_der);
  if (!chain) return unusable(chain.error());
  auto key = key_from_der(svid.key_der.reveal());
  if (!key) return unusable(key.error());
  auto roots = certificates_from_der(svid.bundle_der);
  if (!roots) return unusable(roots.error());
  auto identity = make_identity(std::move(*key), *chain, *roots);
  if (!identity) return unusable(identity.error());
  if (!expected.matches((*identity)->spiffe_id))
    return unusable(Error(Code::kFailedPrecondition, "HWS-ID-010",
                          "the certificate for " + svid.spiffe_id + " is for " + (*identity)->spiffe_id));
  return identity;
}

}  // namespace

struct SpiffeCa::Impl : std::enable_shared_from_this<Impl> {
  Loop& loop;
  Metrics& metrics;
  Options options;
  Backoff backoff;
  std::function<void()> news;
  std::unique_ptr<WorkloadStream> stream;
  std::unique_ptr<Loop::Timer> reconnect;
  std::unique_ptr<Loop::Timer> patience;
  Done done;
  std::uint64_t serial = 0;  // of the request; posts of an earlier one are ignored
  IdentityPtr newest;
  bool handed_out = false;       // `newest` was answered with
  std::optional<Error> failure;  // of the stream or of its last update
  std::string told;

  Impl(Loop& l, Metrics& m, Options o)
      : loop(l), metrics(m), options(std::move(o)), backoff(options.retry_base, options.retry_cap, options.seed) {}

  bool usable() const { return newest && !newest->expired_at(loop.wall()); }

  // --- who asks ---

  void begin(Done when_done) {
    done = std::move(when_done);
    const auto id = ++serial;
    // With the stream broken, what was answered already is no answer to who asks for a newer one: the cause is.
    const bool at_once = usable() && (!handed_out || (stream && !failure));
    if (!stream) connect();
    loop.post([weak = weak_from_this(), id, at_once] {
      auto self = weak.lock();
      if (!self || self->serial != id || !self->done) return;
      if (at_once) return self->answer();
      if (self->stream && self->failure) return self->finish(*self->failure);
      self->patience = self->loop.after(self->options.timeout, [impl = self.get()] { impl->finish(impl->too_late()); });
    });
  }

  Error too_late() const {
    if (failure) return *failure;
    return {Code::kDeadlineExceeded, "HWS-CA-035",
            "the SPIFFE Workload API at " + options.socket_path + " said nothing in " +
                std::to_string(options.timeout.count()) + " ms",
            "look at the SPIFFE agent's log: is it attested?"};
  }

  void answer() {
    handed_out = true;
    Answer out;
    out.chain_pem = newest->chain_pem;
    out.roots_pem = newest->roots_pem;
    out.key = Secret::copy_of(newest->key_pem.reveal());
    finish(std::move(out));
  }

  void finish(Result<Answer> result) {
    patience.reset();
    ++serial;
    if (const auto call = std::exchange(done, nullptr)) call(std::move(result));
  }

  // --- the stream ---

  void connect() {
    reconnect.reset();
    failure.reset();
    stream = std::make_unique<WorkloadStream>(
        loop, options.socket_path,
        [weak = weak_from_this()](SvidUpdate update) {
          if (auto self = weak.lock()) self->updated(update);
        },
        [weak = weak_from_this()](const Error& error) {
          if (auto self = weak.lock()) self->ended(error);
        });
  }

  void updated(const SvidUpdate& update) {
    metrics.add("hawser_ca_updates_total", "What a SPIFFE agent or files brought by themselves");
    backoff.reset();
    if (!update.federated.empty() || update.crls > 0)
      log::debug("bundles of other trust domains and CRLs of the SPIFFE agent aren't used",
                 {{"bundles", std::to_string(update.federated.size())}, {"crls", std::to_string(update.crls)}});
    const Svid* const ours = choose(update, options.expected);
    if (ours == nullptr) return failed(none_is_ours(update, options.expected.spiffe_id));
    auto identity = identity_of(*ours, options.expected);
    if (!identity) return failed(identity.error());
    if ((*identity)->expired_at(loop.wall()))
      return failed(unusable(Error(Code::kFailedPrecondition, "HWS-ID-009",
                                   "the certificate ended at " + utc_text((*identity)->not_after) +
                                       "; this host's clock says " + utc_text(loop.wall()))));
    failure.reset();
    told.clear();
    const bool same = newest && newest->same_as(**identity);
    if (!same) {
      newest = std::move(*identity);
      handed_out = false;
    }
    if (done) return answer();
    if (!same && news) news();
  }

  void ended(const Error& error) {
    metrics.add("hawser_ca_calls_total", "Calls to the CA by gRPC code",
                {{"code", std::string(code_name(error.code()))}});
    // Not from within its own call: that's over, and holds itself.
    stream.reset();
    reconnect = loop.after(backoff.next(), [this] { connect(); });
    failed(error);
  }

  // Once for each cause: an agent that is away for a day is one line.
  void failed(const Error& error) {
    failure = error;
    const bool is_news = std::exchange(told, error.to_string()) != error.to_string();
    (is_news && !done ? log::warn : log::debug)("no certificate of the SPIFFE agent: " + error.to_string(), {});
    if (done) finish(error);
  }

  void stop() {
    ++serial;
    done = nullptr;
    patience.reset();
  }
};

SpiffeCa::SpiffeCa(Loop& loop, Metrics& metrics, Options options)
    : impl_(std::make_shared<Impl>(loop, metrics, std::move(options))) {}

SpiffeCa::~SpiffeCa() {
  cancel();
}

void SpiffeCa::sign(Request, Done done) {
  impl_->stop();
  impl_->begin(std::move(done));
}

void SpiffeCa::cancel() {
  impl_->stop();
  impl_->reconnect.reset();
  impl_->stream.reset();
}

void SpiffeCa::on_news(std::function<void()> news) {
  impl_->news = std::move(news);
}

}  // namespace hawser::certs
