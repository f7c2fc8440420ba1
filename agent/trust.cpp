// SPDX-License-Identifier: Apache-2.0
#include "trust.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "base/file.h"
#include "base/log.h"
#include "certs/crl.h"
#include "certs/file_watch.h"
#include "certs/trust_bundle.h"
#include "certs/trust_state.h"
#include "certs/utc.h"
#include "certs/x509.h"
#include "trust_input.h"
#include "trust_json.h"

namespace hawser {
namespace {

constexpr char kTrustItem[] = "trust";
// So long before a list ends it is taken back: the proxy's clock needn't be ours.
constexpr std::chrono::seconds kCrlMargin{5};
constexpr std::chrono::hours kLongestTimer{24};
constexpr auto kRetryDisk = std::chrono::seconds(5);

}  // namespace

struct Trust::Impl : std::enable_shared_from_this<Impl> {
  Context context;
  config::Config config;
  certs::TrustBundle bundle;
  const Loop::Monotonic started;
  const Loop::Wall began;
  certs::IdentityPtr identity;
  TrustFiles files;
  certs::CrlVerdict crl;
  std::map<std::string, Error> troubles;  // by source
  std::optional<Error> disk;
  Content content;
  std::vector<std::function<void(const Content&)>> listeners;
  std::unique_ptr<certs::FileWatch> watch;
  std::unique_ptr<Loop::Timer> timer;
  std::string saved;
  bool told = false;  // content, to the listeners
  bool running = false;

  Impl(Context c, const config::Config& cfg)
      : context(std::move(c)),
        config(cfg),
        bundle({cfg.trust.overlap, cfg.trust.exclude}),
        started(context.loop.now()),
        began(context.loop.wall()) {}

  // --- time: the wall's as it was at start, and no jump since ---

  Loop::Wall now() const { return began + (context.loop.now() - started); }
  Loop::Duration shift() const { return context.loop.wall() - now(); }

  std::string path() const { return context.state_dir + "/identity/trust.json"; }

  void load() {
    auto loaded = certs::load_trust_state(path());
    if (loaded.note) {
      log::error(loaded.note->to_string());
      disk = loaded.note;
    }
    // What is on disk already isn't written again at each start.
    if (!loaded.note && !loaded.state.roots.empty())
      saved = certs::build_trust_state(loaded.state, std::chrono::minutes(0));
    // A clock that was set back, or a shorter overlap: none is kept for longer than a root that is retired now.
    for (auto& root : loaded.state.roots)
      if (root.retired_until) root.retired_until = std::min(*root.retired_until, now() + config.trust.overlap);
    bundle = certs::TrustBundle({config.trust.overlap, config.trust.exclude}, std::move(loaded.state));
    for (const auto& source : bundle.sources())
      if (!configured(source)) bundle.forget(source, now());
    bundle.advance(now());
    content.roots_pem = bundle.pem();
  }

  bool configured(const std::string& source) const {
    const auto& roots = config.trust.roots;
    if (source == certs::kFromCa) return true;
    if (source == certs::kFromControlPlane) return config.trust.from_control_plane;
    return std::find(roots.begin(), roots.end(), source) != roots.end();
  }

  // --- what comes in ---

  void start() {
    running = true;
    std::vector<std::string> paths = config.trust.roots;
    if (!config.trust.crl.empty()) paths.push_back(config.trust.crl);
    if (!paths.empty())
      watch = std::make_unique<certs::FileWatch>(context.loop, std::move(paths), [this] { read_files(); });
    read_files();
  }

  void read_files() {
    context.slow.submit([weak = weak_from_this(), &loop = context.loop, settings = config.trust] {
      auto read = read_trust_files(settings);
      loop.post([weak, read = std::move(read)] {
        if (auto self = weak.lock(); self && self->running) self->take_files(read);
      });
    });
  }

  void take_files(const TrustFiles& read) {
    files = read;
    for (const auto& [path, pem] : files.roots) {
      if (pem)
        take(path, *pem);
      else
        troubles.insert_or_assign(path, pem.error());
    }
    settle();
  }

  void take(const std::string& source, const std::string& pem) {
    const auto set = bundle.set(source, pem, now());
    if (set)
      troubles.erase(source);
    else
      troubles.insert_or_assign(source, set.error());
  }

  void on_identity(const certs::IdentityPtr& fresh) {
    identity = fresh;
    take(certs::kFromCa, fresh->roots_pem);
    settle();
  }

  void on_control_plane(const std::string& pem) {
    if (pem.empty()) {
      bundle.forget(certs::kFromControlPlane, now());
      troubles.erase(certs::kFromControlPlane);
    } else {
      take(certs::kFromControlPlane, pem);
    }
    settle();
  }

  // --- what follows ---

  void settle() {
    bundle.advance(now());
    judge();
    save();
    arm();
    report();
    Content fresh{bundle.pem(), crl.trouble ? std::string() : crl.pem, crl.leaf_only};
    if (fresh == content && told) return;
    // With nothing to trust yet there's nothing to tell.
    if (fresh.roots_pem.empty() && content.roots_pem.empty()) return;
    content = std::move(fresh);
    if (!running) return;
    told = true;
    for (const auto& listener : listeners) listener(content);
  }

  void judge() {
    crl = {};
    if (config.trust.crl.empty()) return;
    if (!files.crl) {
      crl.trouble = files.crl.error();
    } else if (identity && !files.crl->empty()) {
      crl = certs::judge_crls(*files.crl, bundle.pem(), identity->chain_pem, context.loop.wall() + kCrlMargin);
    }
  }

  void save() {
    // By the shift in whole minutes, so that nothing is written because a clock crept.
    auto text = certs::build_trust_state(bundle.state(), std::chrono::round<std::chrono::minutes>(shift()));
    if (text == saved) return;
    saved = text;
    context.slow.submit([weak = weak_from_this(), &loop = context.loop, path = path(), text = std::move(text)] {
      auto done = certs::save_trust_state(path, text);
      loop.post([weak, done = std::move(done)] {
        const auto self = weak.lock();
        if (!self || !self->running) return;
        if (!done) log::error(done.error().to_string());
        if (!done) self->saved.clear();
        self->disk = done ? std::nullopt : std::optional<Error>(done.error());
        self->report();
      });
    });
  }

  void arm() {
    timer.reset();
    std::optional<Loop::Duration> wait;
    const auto consider = [&](Loop::Duration left) { wait = wait ? std::min(*wait, left) : left; };
    if (const auto next = bundle.deadline()) consider(*next - now());
    if (crl.until && !crl.trouble) consider(*crl.until - kCrlMargin - context.loop.wall());
    if (!disk && !wait) return;
    if (disk) consider(kRetryDisk);
    timer =
        context.loop.after(std::clamp<Loop::Duration>(*wait, std::chrono::milliseconds(100), kLongestTimer), [this] {
          if (running) settle();
        });
  }

  // Signatures only: an expired certificate is another item's matter.
  std::optional<Error> misfit() const {
    if (!identity || certs::verify_chain(identity->chain_pem, bundle.pem())) return std::nullopt;
    return Error(Code::kFailedPrecondition, "HWS-TR-005",
                 "this host's own certificate leads to no root that is trusted here: the one it leads to is excluded",
                 "have the CA certify by another root and run hawser cert renew, or hawser trust allow SHA256");
  }

  void report() {
    std::size_t trusted = 0;
    std::size_t retired = 0;
    for (const auto& root : bundle.roots()) {
      if (bundle.excluded(root.sha256)) continue;
      ++trusted;
      if (root.retired_until) ++retired;
    }
    const auto count = [&](const char* state, std::size_t value) {
      context.metrics.set("hawser_trust_roots", "Roots that are trusted", {{"state", state}},
                          static_cast<double>(value));
    };
    count("sent", trusted - retired);
    count("retired", retired);
    if (crl.until && !crl.trouble)
      context.metrics.set("hawser_trust_crl_next_update_timestamp_seconds",
                          "When the first revocation list is outdated", {},
                          static_cast<double>(certs::unix_seconds(*crl.until)));
    std::string detail = std::to_string(trusted) + (trusted == 1 ? " root" : " roots");
    if (retired > 0) detail += ", " + std::to_string(retired) + " of them retired";
    if (!crl.pem.empty()) detail += "; revocation lists: " + std::to_string(crl.lists.size());
    if (const auto error = worst())
      return context.health.report(kTrustItem, HealthState::kDegraded, error->message(), &*error);
    context.health.report(kTrustItem, trusted > 0 ? HealthState::kOk : HealthState::kStarting, detail, nullptr);
  }

  std::optional<Error> worst() const {
    if (auto error = misfit()) return error;
    if (!troubles.empty()) {
      const Error& first = troubles.begin()->second;
      Error out(first.code(), first.id(),
                first.message() + (first.cause() != nullptr ? ": " + first.cause()->message() : ""), first.hint());
      return out;
    }
    if (crl.trouble) return crl.trouble;
    return disk;
  }

  // --- the operator ---

  // What would be without a root if this one weren't trusted; empty: nothing.
  std::string needed_by(const std::string& sha256) const {
    certs::TrustBundle without = bundle;
    without.drop(sha256);
    if (identity && !certs::verify_chain(identity->chain_pem, without.pem()))
      return "this host's own certificate leads to it";
    const auto bare = [&](const std::string& pinned) {
      return certs::split_bundle(pinned) && without.server_roots(pinned).empty();
    };
    if (bare(config.control_plane.root_pem)) return "the connection to the control plane would have no root left";
    if (bare(config.ca_root())) return "the connection to the CA would have no root left";
    return {};
  }

  Status drop(const std::string& sha256) {
    if (!bundle.knows(sha256)) return unknown(sha256);
    if (const auto why = needed_by(sha256); !why.empty())
      return Error(Code::kFailedPrecondition, "HWS-TR-007", "that root can't be dropped: " + why,
                   "have the CA certify by another root and run hawser cert renew first");
    bundle.drop(sha256);
    log::warn("a root is trusted no more, by the operator's word", {{"sha256", sha256}});
    settle();
    return {};
  }

  Status allow(const std::string& sha256) {
    if (bundle.state().dropped.count(sha256) == 0) return unknown(sha256);
    bundle.allow(sha256);
    log::warn("a root that was dropped may be trusted again, by the operator's word", {{"sha256", sha256}});
    settle();
    return {};
  }

  static Error unknown(const std::string& sha256) {
    return {Code::kNotFound, "HWS-TR-006", "there is no such root here: " + sha256, "hawser trust show"};
  }
};

Trust::Trust(Context context, const config::Config& config)
    : impl_(std::make_shared<Impl>(std::move(context), config)) {
  impl_->load();
}
Trust::~Trust() {
  stop();
}

void Trust::on_change(std::function<void(const Content&)> callback) {
  impl_->listeners.push_back(std::move(callback));
}

void Trust::start() {
  impl_->start();
}

void Trust::stop() {
  impl_->running = false;
  impl_->watch.reset();
  impl_->timer.reset();
}

Status Trust::erase() {
  return file::remove_durable(impl_->path());
}

void Trust::on_identity(const certs::IdentityPtr& identity) {
  impl_->on_identity(identity);
}

std::function<Status(const std::string&)> Trust::control_plane_sink() {
  return [weak = std::weak_ptr<Impl>(impl_), &loop = impl_->context.loop](const std::string& config) -> Status {
    auto roots = roots_of_proxy_config(config);
    if (!roots) return roots.error();
    loop.post([weak, roots = std::move(*roots)] {
      if (auto self = weak.lock(); self && self->running) self->on_control_plane(roots);
    });
    return {};
  };
}

const Trust::Content& Trust::content() const {
  return impl_->content;
}

std::string Trust::server_roots(const std::string& pinned) const {
  return impl_->bundle.server_roots(pinned);
}

nlohmann::json Trust::describe() const {
  return trust_json(impl_->bundle, impl_->crl, impl_->config.trust, impl_->shift());
}

Status Trust::drop(const std::string& sha256) {
  return impl_->drop(sha256);
}

Status Trust::allow(const std::string& sha256) {
  return impl_->allow(sha256);
}

}  // namespace hawser
