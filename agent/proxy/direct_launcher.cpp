// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "proxy/direct_launcher.h"

extern "C" {  // glibc 2.36 forgets it
#include <sys/pidfd.h>
}

#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <filesystem>
#include <list>
#include <map>

#include "base/file.h"
#include "base/log.h"
#include "proxy/child.h"
#include "proxy/generation_record.h"

namespace hawser::proxy {
namespace {

namespace asio = boost::asio;

// One answer owed to a reap() that waits.
struct Waiter {
  Launcher::Reaped done;
  std::unique_ptr<Loop::Timer> timer;
};

struct Entry {
  explicit Entry(asio::io_context& context) : end(context) {}

  GenerationRecord record;
  bool starting = false;
  bool running = false;
  bool reaping = false;
  asio::posix::stream_descriptor end;  // the pidfd that we wait on
  std::list<Waiter> waiters;
};

GenerationState state_of(const Entry& entry) {
  GenerationState out;
  out.name = entry.record.spec.name;
  out.binary_sha256 = entry.record.spec.binary_sha256;
  out.pid = entry.record.process.pid;
  out.running = entry.starting || entry.running;
  out.exit_status = entry.record.exit_status;
  out.started_at = entry.record.started_at;
  out.permits = entry.record.spec.permits;
  return out;
}

}  // namespace

struct DirectLauncher::Impl : std::enable_shared_from_this<Impl> {
  Impl(AsioLoop& event_loop, Options given) : loop(event_loop), options(std::move(given)) {}

  using EntryPtr = std::shared_ptr<Entry>;

  std::string path_of(const Entry& entry) const { return record_path(options.run_folder, entry.record.spec.name); }

  // The holder and the program may end in either order; whichever lives is waited for next.
  void watch(const EntryPtr& entry) {
    UniqueFd fd;
    if (!entry->record.ended && entry->record.boot == boot_id()) {
      fd = open_pidfd(entry->record.holder);
      if (!fd) fd = open_pidfd(entry->record.process);
    }
    if (!fd) return ended(entry);
    entry->running = true;
    boost::system::error_code error;
    entry->end.close(error);
    entry->end.assign(fd.release(), error);
    entry->end.async_wait(asio::posix::stream_descriptor::wait_read,
                          [self = weak_from_this(), entry](const boost::system::error_code& failed) {
                            auto impl = self.lock();
                            if (!impl || failed) return;
                            impl->reload(*entry);
                            impl->watch(entry);
                          });
  }

  void reload(Entry& entry) {
    if (auto record = load_record(path_of(entry))) entry.record = std::move(*record);
  }

  void ended(const EntryPtr& entry) {
    boost::system::error_code ignored;
    entry->end.close(ignored);
    if (entry->running)
      log::info("a proxy generation ended",
                {{"generation", entry->record.spec.name}, {"wait_status", std::to_string(entry->record.exit_status)}});
    entry->running = false;
    if (entry->waiters.empty()) return;
    auto waiters = std::move(entry->waiters);
    entry->waiters.clear();
    for (Waiter& waiter : waiters) waiter.timer.reset();
    finish_reap(entry, [waiters = std::make_shared<std::list<Waiter>>(std::move(waiters))](
                           const Result<GenerationState>& state) {
      for (Waiter& waiter : *waiters) waiter.done(state);
    });
  }

  void finish_reap(const EntryPtr& entry, Reaped done) {
    entry->reaping = true;
    if (entry->record.ended) return forget(entry, done);
    // Its holder was killed, so nobody has cleaned up after it.
    ChildSpec child;
    child.binary = options.holder;
    child.args = {"--sweep", path_of(*entry)};
    run_child(loop, child, [self = shared_from_this(), entry, done = std::move(done)](const Result<ChildResult>&) {
      self->forget(entry, done);
    });
  }

  void forget(const EntryPtr& entry, const Reaped& done) {
    const GenerationState state = state_of(*entry);
    Status removed = file::remove_durable(path_of(*entry));
    if (removed && !entry->record.spec.bootstrap.empty()) removed = file::remove_durable(entry->record.spec.bootstrap);
    entries.erase(state.name);
    if (!removed) return done(removed.error());
    done(state);
  }

  void start(GenerationSpec spec, Started done) {
    const auto at = entries.find(spec.name);
    if (at != entries.end()) {
      const auto& old = at->second;
      if (old->starting || old->running || old->reaping)
        return done(Error(Code::kAlreadyExists, "HWS-BR-021", "proxy generation " + spec.name + " exists already",
                          "end and reap it first, or use the next epoch"));
      // It ended unseen, perhaps before a reboot; its traces make room for its successor. Its bootstrap has been
      // replaced by the new one already and must stay.
      old->record.spec.bootstrap.clear();
      return finish_reap(old, [self = shared_from_this(), spec = std::move(spec),
                               done = std::move(done)](const Result<GenerationState>& state) {
        if (!state) return done(state.error());
        self->start(spec, done);
      });
    }
    if (entries.size() >= options.max_generations)
      return done(Error(Code::kResourceExhausted, "HWS-BR-021",
                        std::to_string(entries.size()) + " proxy generations exist already", "reap those that ended"));
    auto entry = std::make_shared<Entry>(loop.context());
    entry->record.spec = std::move(spec);
    entry->record.boot = boot_id();
    entry->starting = true;
    entries[entry->record.spec.name] = entry;
    launch(entry, std::move(done));
  }

  void launch(const EntryPtr& entry, Started done) {
    if (auto saved = save_record(path_of(*entry), entry->record); !saved) return failed(entry, saved.error(), done);
    ChildSpec child;
    child.binary = options.holder;
    child.args = {"--hold", path_of(*entry)};
    child.timeout = options.start_timeout;
    run_child(loop, child,
              [self = shared_from_this(), entry, done = std::move(done)](const Result<ChildResult>& result) {
                self->launched(entry, result, done);
              });
  }

  void launched(const EntryPtr& entry, const Result<ChildResult>& result, const Started& done) {
    entry->starting = false;
    reload(*entry);
    if (result && result->output == "ok\n") {
      watch(entry);
      return done(state_of(*entry));
    }
    // A holder that was slow may still have started it: then it stays known, for signal and reap.
    if (!result && identify(entry->record.process.pid) == entry->record.process && entry->record.process) {
      watch(entry);
      return done(result.error());
    }
    const std::string said = result ? result->output.substr(0, result->output.find('\n')) : result.error().to_string();
    failed(entry,
           Error(Code::kInternal, "HWS-BR-020", "can't start " + entry->record.spec.name + ": " + said,
                 "check the binary and the log of the broker"),
           done);
  }

  void failed(const EntryPtr& entry, const Error& error, const Started& done) {
    (void)file::remove_durable(path_of(*entry));
    entries.erase(entry->record.spec.name);
    done(error);
  }

  AsioLoop& loop;
  Options options;
  std::map<std::string, EntryPtr> entries;
};

DirectLauncher::DirectLauncher(AsioLoop& loop, Options options)
    : impl_(std::make_shared<Impl>(loop, std::move(options))) {}
DirectLauncher::~DirectLauncher() = default;

Status DirectLauncher::adopt() {
  std::error_code error;
  std::size_t seen = 0;
  for (std::filesystem::directory_iterator at(impl_->options.run_folder, error), end;
       !error && at != end && seen < impl_->options.max_generations * 4; at.increment(error), ++seen) {
    if (at->path().extension() != ".json") continue;
    auto record = load_record(at->path().string());
    if (!record || record->spec.name != at->path().stem().string()) {
      log::warn("a record of a proxy generation can't be used", {{"path", at->path().string()}});
      continue;
    }
    auto entry = std::make_shared<Entry>(impl_->loop.context());
    entry->record = std::move(*record);
    impl_->entries[entry->record.spec.name] = entry;
    impl_->watch(entry);
    log::info("found a proxy generation", {{"generation", entry->record.spec.name},
                                           {"pid", std::to_string(entry->record.process.pid)},
                                           {"running", entry->running ? "yes" : "no"}});
  }
  if (error)
    return Error(Code::kFailedPrecondition, "HWS-BR-024",
                 "can't read " + impl_->options.run_folder + ": " + error.message(),
                 "create the folders with systemd-tmpfiles --create");
  return {};
}

void DirectLauncher::start(GenerationSpec spec, Started done) {
  impl_->start(std::move(spec), std::move(done));
}

Status DirectLauncher::signal(const std::string& name, int signal) {
  const auto at = impl_->entries.find(name);
  if (at == impl_->entries.end()) return unknown_generation(name);
  UniqueFd process = open_pidfd(at->second->record.process);
  if (!process) return Error(Code::kNotFound, "HWS-BR-022", "proxy generation " + name + " has ended", "reap it");
  if (::pidfd_send_signal(process.get(), signal, nullptr, 0) != 0)
    return errno_error(errno, "HWS-BR-023", "can't signal proxy generation " + name,
                       "the direct launcher needs CAP_KILL");
  return {};
}

void DirectLauncher::reap(const std::string& name, std::chrono::milliseconds wait, Reaped done) {
  const auto at = impl_->entries.find(name);
  if (at == impl_->entries.end()) return done(unknown_generation(name));
  const auto entry = at->second;
  if (entry->reaping)
    return done(
        Error(Code::kAborted, "HWS-BR-022", "proxy generation " + name + " is being reaped", "nothing is left to do"));
  if (!entry->starting && !entry->running) return impl_->finish_reap(entry, std::move(done));
  if (wait.count() <= 0) return done(state_of(*entry));
  entry->waiters.push_back({std::move(done), nullptr});
  const auto waiter = std::prev(entry->waiters.end());
  waiter->timer = impl_->loop.after(wait, [entry, waiter] {
    const Reaped answer = std::move(waiter->done);
    entry->waiters.erase(waiter);  // with it goes this timer
    answer(state_of(*entry));
  });
}

std::vector<GenerationState> DirectLauncher::list() const {
  std::vector<GenerationState> out;
  for (const auto& [name, entry] : impl_->entries) out.push_back(state_of(*entry));
  return out;
}

void DirectLauncher::validate(CheckSpec spec, Checked done) {
  ChildSpec child;
  child.binary = std::move(spec.binary);
  if (!spec.argv.empty()) child.args.assign(spec.argv.begin() + 1, spec.argv.end());
  child.uid = spec.uid;
  child.gid = spec.gid;
  child.collect_stderr = spec.errors_too;
  child.timeout = spec.timeout;
  child.keep = spec.keep;
  child.memory = spec.memory;
  run_child(impl_->loop, std::move(child), [done = std::move(done)](Result<ChildResult> result) {
    if (!result) return done(result.error());
    done(CheckResult{result->exit_code, std::move(result->output)});
  });
}

}  // namespace hawser::proxy
