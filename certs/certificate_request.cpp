// SPDX-License-Identifier: Apache-2.0
#include "certs/certificate_request.h"

#include <deque>
#include <optional>

#include "base/log.h"
#include "certs/utc.h"

namespace hawser::certs {
namespace {

struct Proof {
  bool certificate = false;
  bool token = false;
  bool fresh = false;  // a token that is fetched for this

  std::string name() const {
    if (certificate) return token ? "certificate+token" : "certificate";
    return fresh ? "fresh token" : "token";
  }
};

// Both first: it's one call, and what the CA dislikes about one needn't matter.
std::deque<Proof> proofs(bool certificate, bool token, bool attests_again) {
  std::deque<Proof> out;
  if (certificate && token) out.push_back({true, true, false});
  if (token) out.push_back({false, true, false});
  if (certificate) out.push_back({true, false, false});
  if (token && attests_again) out.push_back({false, true, true});
  return out;
}

// What the slow worker makes ready for one request.
struct Prepared {
  Secret key;
  std::string csr_pem;
  std::optional<Token> token;
  std::optional<Error> no_token;
};

void read_token(TokenSource& tokens, Prepared& out) {
  auto token = tokens.read();
  if (token)
    out.token = std::move(*token);
  else
    out.no_token = token.error();
}

Result<std::shared_ptr<Prepared>> prepare(TokenSource& tokens, KeyKind kind, const std::string& spiffe_id) {
  auto out = std::make_shared<Prepared>();
  read_token(tokens, *out);
  auto key = make_key(kind);
  if (!key) return key.error();
  auto csr = make_csr(*key, spiffe_id);
  if (!csr) return csr.error();
  out->key = std::move(*key);
  out->csr_pem = std::move(*csr);
  return out;
}

Error expired_token(Loop::Wall when) {
  return {Code::kUnauthenticated, "HWS-ID-022", "the token expired at " + utc_text(when),
          "make a new bundle or token and run hawser join again"};
}

bool refuses_proof(const Error& error) {
  return error.code() == Code::kUnauthenticated || error.code() == Code::kPermissionDenied;
}

}  // namespace

struct CertificateRequest::Impl : std::enable_shared_from_this<Impl> {
  Loop& loop;
  SlowWorker& slow;
  CaClient& ca;
  std::shared_ptr<TokenSource> tokens;
  Options options;
  Metrics& metrics;

  IdentityPtr client;
  Done done;
  std::shared_ptr<Prepared> made;
  std::deque<Proof> left;
  std::optional<Error> first_refusal;
  std::uint64_t serial = 0;  // of the request; what belongs to an earlier one is ignored

  Impl(Loop& l, SlowWorker& s, CaClient& c, std::shared_ptr<TokenSource> t, Options o, Metrics& m)
      : loop(l), slow(s), ca(c), tokens(std::move(t)), options(std::move(o)), metrics(m) {}

  // The worker may outlive us, so `work` must own what it uses.
  template <typename Work, typename Then>
  void on_worker(Work work, Then then) {
    slow.submit([weak = weak_from_this(), &loop_ref = loop, id = serial, work = std::move(work),
                 then = std::move(then)]() mutable {
      auto result = std::make_shared<decltype(work())>(work());
      loop_ref.post([weak = std::move(weak), id, result, then = std::move(then)] {
        if (auto self = weak.lock(); self && self->serial == id) then(*self, *result);
      });
    });
  }

  void begin(IdentityPtr valid, Done when_done) {
    ++serial;
    client = std::move(valid);
    done = std::move(when_done);
    first_refusal.reset();
    left.clear();
    made.reset();
    if (ca.traits().makes_key) return ask({});
    on_worker(
        [source = tokens, kind = options.key, id = options.expected.spiffe_id] { return prepare(*source, kind, id); },
        [](Impl& self, Result<std::shared_ptr<Prepared>>& prepared) {
          if (!prepared) return self.finish(prepared.error());
          self.made = std::move(*prepared);
          self.prepared();
        });
  }

  void prepared() {
    const bool needs_proof = ca.traits().needs_proof;
    if (needs_proof && !made->token && !client) return finish(*made->no_token);
    if (needs_proof && made->token && made->token->expired_at(loop.wall()) && !client)
      log::warn(expired_token(*made->token->expires).message() + "; the CA will refuse it", {{"id", "HWS-ID-022"}});
    left = proofs(client != nullptr, made->token.has_value(), tokens->traits().attests_again);
    if (!needs_proof) left = {Proof{}};
    next();
  }

  void next() {
    const Proof proof = left.front();
    left.pop_front();
    if (!proof.fresh) return ask(proof);
    on_worker(
        [source = tokens] {
          source->forget();
          Prepared fresh;
          read_token(*source, fresh);
          return fresh;
        },
        [proof](Impl& self, Prepared& fresh) {
          if (!fresh.token) return self.finish(*fresh.no_token);
          self.made->token = std::move(fresh.token);
          self.ask(proof);
        });
  }

  void ask(const Proof& proof) {
    CaClient::Request request;
    request.ttl = options.ttl;
    request.spiffe_id = options.expected.spiffe_id;
    if (made) request.csr_pem = made->csr_pem;
    if (proof.token) request.token = Secret::copy_of(made->token->text.reveal());
    if (proof.certificate) request.client = client;
    ca.sign(std::move(request), [weak = weak_from_this(), id = serial, proof](Result<CaClient::Answer> answer) {
      if (auto self = weak.lock(); self && self->serial == id) self->answered(proof, answer);
    });
  }

  void answered(const Proof& proof, Result<CaClient::Answer>& answer) {
    if (answer) {
      Secret key = made ? std::move(made->key) : std::move(answer->key);
      return finish(accept_answer(std::move(key), *answer, options.expected, loop.wall()));
    }
    if (!made || !refuses_proof(answer.error())) return finish(first_refusal.value_or(answer.error()));
    metrics.add("hawser_cert_proofs_refused_total", "Proofs of identity that the CA refused",
                {{"proof", proof.name()}});
    if (!first_refusal) first_refusal = answer.error();
    if (left.empty()) return finish(explain(*first_refusal));
    log::info("the CA refuses " + proof.name() + "; trying " + left.front().name(), {{"id", answer.error().id()}});
    next();
  }

  // The CA doesn't tell why it refused a token; an expired one is the common cause, and we can see it.
  Error explain(const Error& refusal) const {
    if (refusal.code() != Code::kUnauthenticated || !made->token || !made->token->expired_at(loop.wall()))
      return refusal;
    Error error = expired_token(*made->token->expires);
    error.because(refusal);
    return error;
  }

  void finish(Result<IdentityPtr> result) {
    ++serial;
    made.reset();
    client.reset();
    if (auto once = std::exchange(done, nullptr)) once(std::move(result));
  }

  void cancel() {
    ++serial;
    done = nullptr;
    made.reset();
    client.reset();
    ca.cancel();
  }
};

CertificateRequest::CertificateRequest(Loop& loop, SlowWorker& slow, CaClient& ca, std::shared_ptr<TokenSource> tokens,
                                       Options options, Metrics& metrics)
    : impl_(std::make_shared<Impl>(loop, slow, ca, std::move(tokens), std::move(options), metrics)) {}

CertificateRequest::~CertificateRequest() {
  impl_->cancel();
}

void CertificateRequest::start(IdentityPtr client, Done done) {
  impl_->begin(std::move(client), std::move(done));
}

void CertificateRequest::cancel() {
  impl_->cancel();
}

}  // namespace hawser::certs
