// SPDX-License-Identifier: Apache-2.0
#include "sds/file_secrets.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "base/log.h"
#include "certs/file_watch.h"

namespace hawser::sds {
namespace {

constexpr char kItem[] = "secret files";

using Loaded = std::map<std::string, Result<FileSecretPtr>>;

}  // namespace

struct FileSecrets::Impl : std::enable_shared_from_this<Impl> {
  // What was read last, and what is wrong with the file now.
  struct Wanted {
    FileSecretPtr secret;
    std::optional<Error> error;
  };

  AsioLoop& loop;
  SlowWorker& slow;
  HealthSink& health;
  Options options;
  std::function<void(const std::string&)> changed;
  std::map<std::string, Wanted> wanted;
  std::unique_ptr<certs::FileWatch> watch;
  std::unique_ptr<Loop::Timer> timer;
  std::string told;
  unsigned tries_left = 0;
  bool reading = false;
  bool read_again = false;
  bool reported = false;
  bool stopped = false;

  Impl(AsioLoop& l, SlowWorker& s, HealthSink& h, Options o) : loop(l), slow(s), health(h), options(std::move(o)) {}

  void want(const std::set<std::string>& names) {
    if (stopped) return;
    std::map<std::string, Wanted> next;
    bool news = false;
    for (const auto& name : names) {
      if (!is_file_name(name)) continue;
      if (next.size() == kMostNames) {
        log::warn("too many secrets of files are asked for; the rest stays pending", {{"id", "HWS-SDS-007"}});
        break;
      }
      const auto known = wanted.find(name);
      news = news || known == wanted.end();
      next[name] = known == wanted.end() ? Wanted() : std::move(known->second);
    }
    const bool fewer = next.size() != wanted.size();
    wanted = std::move(next);
    if (!news && !fewer) return;
    follow();
    if (news) fresh();
    if (!news) report();
  }

  void follow() {
    std::vector<std::string> paths;
    for (const auto& [name, item] : wanted)
      for (auto& path : paths_of(name)) paths.push_back(std::move(path));
    if (paths.empty()) return watch.reset();
    if (watch) return watch->set_paths(std::move(paths));
    certs::FileWatch::Times times;
    times.settle = options.settle;
    watch = std::make_unique<certs::FileWatch>(
        loop, std::move(paths), [this] { fresh(); }, times);
  }

  void fresh() {
    tries_left = options.tries;
    read();
  }

  void read() {
    timer.reset();
    if (stopped || wanted.empty()) return;
    read_again = std::exchange(reading, true);
    if (read_again) return;
    std::vector<std::string> names;
    for (const auto& [name, item] : wanted) names.push_back(name);
    slow.submit([weak = weak_from_this(), &loop_ref = loop, names = std::move(names), access = options.access] {
      auto loaded = std::make_shared<Loaded>();
      for (const auto& name : names) loaded->emplace(name, load_file_secret(name, access));
      loop_ref.post([weak, loaded] {
        if (auto self = weak.lock(); self && !self->stopped) self->loaded(*loaded);
      });
    });
  }

  void loaded(const Loaded& found) {
    reading = false;
    std::vector<std::string> news;
    bool half_written = false;
    for (auto& [name, item] : wanted) {
      const auto result = found.find(name);
      if (result == found.end()) continue;
      if (!result->second) {
        item.error = result->second.error();
        half_written = half_written || item.error->retryable();
        continue;
      }
      item.error.reset();
      if (item.secret && *item.secret == **result->second) continue;
      item.secret = *result->second;
      news.push_back(name);
    }
    report();
    if (read_again) {
      read();
    } else if (half_written && tries_left > 0) {
      --tries_left;
      timer = loop.after(options.again, [this] { read(); });
    }
    for (const auto& name : news)
      if (changed) changed(name);
  }

  void report() {
    std::size_t broken = 0;
    const Error* first = nullptr;
    std::string all;
    for (const auto& [name, item] : wanted) {
      if (!item.error) continue;
      ++broken;
      all += item.error->to_string() + '\n';
      if (first == nullptr) first = &*item.error;
    }
    if (std::exchange(told, all) != all)
      for (const auto& [name, item] : wanted)
        if (item.error)
          log::warn(item.error->message() + (item.secret ? "; what it held before stays in use" : ""),
                    {{"id", item.error->id()}, {"name", name}});
    if (wanted.empty() && !reported) return;
    reported = true;
    if (first == nullptr)
      return health.report(kItem, HealthState::kOk, std::to_string(wanted.size()) + " served", nullptr);
    health.report(kItem, HealthState::kDegraded,
                  std::to_string(broken) + " of " + std::to_string(wanted.size()) + ": " + first->message(), first);
  }

  void stop() {
    stopped = true;
    timer.reset();
    watch.reset();
  }
};

FileSecrets::FileSecrets(AsioLoop& loop, SlowWorker& slow, HealthSink& health, Options options)
    : impl_(std::make_shared<Impl>(loop, slow, health, std::move(options))) {}

FileSecrets::~FileSecrets() {
  stop();
}

void FileSecrets::on_change(std::function<void(const std::string&)> changed) {
  impl_->changed = std::move(changed);
}

void FileSecrets::want(const std::set<std::string>& names) {
  impl_->want(names);
}

FileSecretPtr FileSecrets::find(const std::string& name) const {
  const auto found = impl_->wanted.find(name);
  return found == impl_->wanted.end() ? nullptr : found->second.secret;
}

void FileSecrets::stop() {
  impl_->stop();
}

}  // namespace hawser::sds
