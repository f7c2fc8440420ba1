// SPDX-License-Identifier: Apache-2.0
#include "certs/ca_files.h"

#include <algorithm>

#include "certs/file_watch.h"
#include "certs/utc.h"

namespace hawser::certs {

struct FilesCa::Impl : std::enable_shared_from_this<Impl> {
  AsioLoop& loop;
  SlowWorker& slow;
  Metrics& metrics;
  Options options;
  std::function<void()> news;
  std::unique_ptr<FileWatch> watch;
  std::unique_ptr<Loop::Timer> again;
  Done done;
  std::uint64_t serial = 0;  // of the request; what comes for an earlier one is ignored
  Loop::Monotonic until;     // when it stops being read again
  bool changed = false;      // while it was being read

  Impl(AsioLoop& l, SlowWorker& s, Metrics& m, Options o) : loop(l), slow(s), metrics(m), options(std::move(o)) {}

  void begin(Done when_done) {
    // Watched before it is read, so that nothing falls in between.
    if (!watch)
      watch = std::make_unique<FileWatch>(
          loop, paths_of(options.folder, options.layout), [this] { noticed(); },
          FileWatch::Times{options.settle, FileWatch::Times().look_again, FileWatch::Times().look_again_blind});
    done = std::move(when_done);
    ++serial;
    until = loop.now() + options.patience;
    read();
  }

  void read() {
    again.reset();
    changed = false;
    slow.submit(
        [weak = weak_from_this(), id = serial, &loop_ref = loop, folder = options.folder, layout = options.layout] {
          auto loaded = load_pem_set(folder, layout);
          loop_ref.post([weak, id, loaded = std::move(loaded)] {
            if (auto self = weak.lock(); self && self->serial == id) self->loaded(loaded);
          });
        });
  }

  void loaded(const Result<IdentityPtr>& result) {
    if (!result && result.error().retryable() && loop.now() < until) {
      again = loop.after(options.again, [this] { read(); });
      return;
    }
    if (!result) return finish(result.error());
    if (auto fits = check(**result); !fits) return finish(fits.error());
    Answer out;
    out.chain_pem = (*result)->chain_pem;
    out.roots_pem = (*result)->roots_pem;
    out.key = Secret::copy_of((*result)->key_pem.reveal());
    finish(std::move(out));
  }

  Status check(const Identity& found) const {
    if (!options.expected.matches(found.spiffe_id))
      return Error(Code::kFailedPrecondition, "HWS-CA-043",
                   "the certificate in " + options.folder + " is for " + found.spiffe_id + ", but this host is " +
                       options.expected.spiffe_id,
                   "set identity.spiffe_id to " + found.spiffe_id + " if that's what is meant, or correct ca.folder");
    if (found.expired_at(loop.wall()))
      return Error(Code::kFailedPrecondition, "HWS-CA-044",
                   "the certificate in " + options.folder + " ended at " + utc_text(found.not_after) +
                       "; this host's clock says " + utc_text(loop.wall()),
                   "look at the program that renews it, and at this host's clock (timedatectl)");
    return {};
  }

  void noticed() {
    metrics.add("hawser_ca_updates_total", "What a SPIFFE agent or files brought by themselves");
    if (!done) {
      if (const auto call = news) call();
      return;
    }
    // Being read: what it finds may be the old ones still.
    changed = true;
  }

  void finish(Result<Answer> result) {
    ++serial;
    const bool missed = std::exchange(changed, false);
    if (const auto call = std::exchange(done, nullptr)) call(std::move(result));
    if (missed && !done)
      if (const auto call = news) call();
  }

  void stop() {
    ++serial;
    done = nullptr;
    again.reset();
  }
};

FilesCa::FilesCa(AsioLoop& loop, SlowWorker& slow, Metrics& metrics, Options options)
    : impl_(std::make_shared<Impl>(loop, slow, metrics, std::move(options))) {}

FilesCa::~FilesCa() {
  cancel();
}

void FilesCa::sign(Request, Done done) {
  impl_->stop();
  impl_->begin(std::move(done));
}

void FilesCa::cancel() {
  impl_->stop();
  impl_->watch.reset();
}

void FilesCa::on_news(std::function<void()> news) {
  impl_->news = std::move(news);
}

}  // namespace hawser::certs
