// SPDX-License-Identifier: Apache-2.0
#include "certs/file_watch.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <cstring>
#include <map>
#include <optional>
#include <set>

#include "base/log.h"
#include "certs/path_trail.h"

namespace hawser::certs {
namespace {

constexpr std::uint32_t kNames = IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF |
                                 IN_CLOSE_WRITE | IN_ATTRIB | IN_ONLYDIR;
constexpr unsigned kMostSettles = 10;

}  // namespace

struct FileWatch::Impl : std::enable_shared_from_this<Impl> {
  AsioLoop& loop;
  std::vector<std::string> paths;
  std::function<void()> changed;
  Times times;
  boost::asio::posix::stream_descriptor inotify;
  // Watch descriptor → the names in that folder that matter; an empty one: all.
  std::map<int, std::set<std::string>> watches;
  std::string state;
  bool blind = false;
  std::unique_ptr<Loop::Timer> settling;
  std::optional<Loop::Monotonic> no_later;
  std::unique_ptr<Loop::Timer> looking;

  Impl(AsioLoop& l, std::vector<std::string> p, std::function<void()> c, Times t)
      : loop(l), paths(std::move(p)), changed(std::move(c)), times(t), inotify(l.context()) {}

  void start() {
    const int fd = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (fd >= 0)
      inotify.assign(fd);
    else
      log::debug("files are looked at from time to time: inotify is not to be had", {{"errno", std::strerror(errno)}});
    walk();
    if (inotify.is_open()) listen();
    look_later();
  }

  // --- what to watch ---

  // Each folder is watched before it is asked, so a change is either seen by this walk or told by its watch.
  void walk() {
    std::map<int, std::set<std::string>> next;
    std::string seen;
    blind = !inotify.is_open();
    const auto step = [&](const std::string& folder, const std::string& name) {
      if (!inotify.is_open()) return;
      const int wd = ::inotify_add_watch(inotify.native_handle(), folder.c_str(), kNames);
      if (wd >= 0)
        next[wd].insert(name);
      else if (errno != ENOENT && errno != ENOTDIR)
        blind = true;
    };
    for (const auto& path : paths) seen += follow(path, step).state + '\n';
    for (const auto& [wd, names] : watches)
      if (next.count(wd) == 0) ::inotify_rm_watch(inotify.native_handle(), wd);
    watches = std::move(next);
    state = std::move(seen);
  }

  // --- what is told ---

  void listen() {
    inotify.async_wait(boost::asio::posix::descriptor_base::wait_read,
                       [weak = weak_from_this()](const boost::system::error_code& error) {
                         auto self = weak.lock();
                         if (!self || error) return;
                         if (self->drain()) self->noticed();
                         self->listen();
                       });
  }

  // True if something of it matters.
  bool drain() {
    alignas(inotify_event) char buffer[8192];
    bool matters = false;
    for (;;) {
      const ssize_t size = ::read(inotify.native_handle(), buffer, sizeof buffer);
      if (size < 0 && errno == EINTR) continue;
      if (size <= 0) return matters;
      for (ssize_t at = 0; at < size;) {
        inotify_event event{};
        std::memcpy(&event, buffer + at, sizeof event);
        const char* const name = event.len > 0 ? buffer + at + sizeof event : "";
        matters = is_ours(event, name) || matters;
        at += static_cast<ssize_t>(sizeof event + event.len);
      }
    }
  }

  bool is_ours(const inotify_event& event, const std::string& name) const {
    if ((event.mask & IN_Q_OVERFLOW) != 0) return true;
    const auto found = watches.find(event.wd);
    // IN_IGNORED follows the end of a folder, which was told, and our own taking back of a watch.
    if (found == watches.end() || (event.mask & IN_IGNORED) != 0) return false;
    const bool itself = name.empty();
    if (itself) return (event.mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_ATTRIB)) != 0 && found->second.count("") > 0;
    return found->second.count("") > 0 || found->second.count(name) > 0;
  }

  void noticed() {
    walk();
    const auto now = loop.now();
    if (!no_later) no_later = now + kMostSettles * Loop::Duration(times.settle);
    // Not by a timer: one that is due would be put off by the next event again.
    if (now >= *no_later) return tell();
    settling = loop.after(std::min<Loop::Duration>(times.settle, *no_later - now), [this] { tell(); });
  }

  void tell() {
    settling.reset();
    no_later.reset();
    walk();
    const auto keep = shared_from_this();
    const auto call = changed;
    call();
  }

  void look_later() {
    looking = loop.after(blind ? times.look_again_blind : times.look_again, [this] {
      const std::string before = state;
      walk();
      look_later();
      if (state != before) noticed();
    });
  }

  void stop() {
    settling.reset();
    looking.reset();
    boost::system::error_code ignored;
    inotify.close(ignored);
  }
};

FileWatch::FileWatch(AsioLoop& loop, std::vector<std::string> paths, std::function<void()> changed)
    : FileWatch(loop, std::move(paths), std::move(changed), Times()) {}

FileWatch::FileWatch(AsioLoop& loop, std::vector<std::string> paths, std::function<void()> changed, Times times)
    : impl_(std::make_shared<Impl>(loop, std::move(paths), std::move(changed), times)) {
  impl_->start();
}

FileWatch::~FileWatch() {
  impl_->stop();
}

void FileWatch::set_paths(std::vector<std::string> paths) {
  impl_->paths = std::move(paths);
  impl_->walk();
}

}  // namespace hawser::certs
