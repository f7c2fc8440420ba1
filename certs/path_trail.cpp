// SPDX-License-Identifier: Apache-2.0
#include "certs/path_trail.h"

#include <sys/stat.h>
#include <unistd.h>

#include <climits>
#include <deque>
#include <string_view>

namespace hawser::certs {
namespace {

constexpr unsigned kMostLinks = 40;

void put_in_front(std::deque<std::string>& names, std::string_view path) {
  std::deque<std::string> parts;
  while (!path.empty()) {
    const auto slash = path.find('/');
    if (slash != 0) parts.emplace_back(path.substr(0, slash));
    path = slash == std::string_view::npos ? std::string_view() : path.substr(slash + 1);
  }
  names.insert(names.begin(), parts.begin(), parts.end());
}

std::string parent_of(const std::string& folder) {
  const auto slash = folder.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : folder.substr(0, slash);
}

std::string join(const std::string& folder, const std::string& name) {
  return folder == "/" ? "/" + name : folder + "/" + name;
}

std::string state_of(const std::string& where, const struct stat& info) {
  return where + '|' + std::to_string(info.st_dev) + '|' + std::to_string(info.st_ino) + '|' +
         std::to_string(info.st_size) + '|' + std::to_string(info.st_mtim.tv_sec) + '.' +
         std::to_string(info.st_mtim.tv_nsec) + '|' + std::to_string(info.st_ctim.tv_sec) + '.' +
         std::to_string(info.st_ctim.tv_nsec);
}

std::string link_target(const std::string& path) {
  char target[PATH_MAX];
  const ssize_t length = ::readlink(path.c_str(), target, sizeof target);
  return length > 0 ? std::string(target, static_cast<std::size_t>(length)) : std::string();
}

}  // namespace

Trail follow(const std::string& path, const Trail::Step& step) {
  Trail out;
  std::deque<std::string> names;
  put_in_front(names, path);
  std::string at = "/";
  unsigned links = 0;
  while (!names.empty()) {
    const std::string name = std::move(names.front());
    names.pop_front();
    if (name == ".") continue;
    if (name == "..") {
      at = parent_of(at);
      continue;
    }
    step(at, name);
    const std::string next = join(at, name);
    struct stat info {};
    const std::string target = ::lstat(next.c_str(), &info) == 0 && S_ISLNK(info.st_mode) ? link_target(next) : "";
    if (!target.empty() && ++links > kMostLinks) break;
    if (!target.empty()) {
      if (target.front() == '/') at = "/";
      put_in_front(names, target);
      continue;
    }
    at = next;
    if (info.st_mode == 0) break;  // there's nothing
  }
  for (const auto& name : names) at = join(at, name);
  out.end = at;
  struct stat info {};
  const bool there = ::lstat(at.c_str(), &info) == 0;
  if (there && S_ISDIR(info.st_mode)) step(at, {});
  out.state = there ? state_of(at, info) : at + "|none";
  return out;
}

}  // namespace hawser::certs
