// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/asio_loop.h"
#include "base/fd.h"

namespace hawser::proxy {

struct TempFolder {
  TempFolder() {
    char name[] = "/tmp/hawser-test-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~TempFolder() {
    for (const auto& file : files) ::unlink((path + "/" + file).c_str());
    ::rmdir(path.c_str());
  }
  std::string file(const std::string& name) {
    files.push_back(name);
    return path + "/" + name;
  }
  std::string path;
  std::vector<std::string> files;
};

// Stands for Envoy's admin interface: reads a request's header, answers with what it is told (whole bytes of a
// response; empty: never answers), one connection at a time.
class AdminStub {
 public:
  using Answer = std::function<std::string(const std::string& request_line)>;

  AdminStub(const std::string& path, Answer answer) : answer_(std::move(answer)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    listener_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
    ::listen(listener_.get(), 16);
    thread_ = std::thread([this] { run(); });
  }
  ~AdminStub() {
    stopping_ = true;
    thread_.join();
  }
  std::vector<std::string> asked() const {
    std::lock_guard lock(mutex_);
    return asked_;
  }

 private:
  bool wait(int fd) const {
    while (!stopping_) {
      pollfd item{fd, POLLIN, 0};
      if (::poll(&item, 1, 20) > 0) return true;
    }
    return false;
  }

  void run() {
    while (wait(listener_.get())) {
      UniqueFd fd(::accept(listener_.get(), nullptr, nullptr));
      std::string request;
      char chunk[4096];
      while (request.find("\r\n\r\n") == std::string::npos && wait(fd.get())) {
        const ssize_t n = ::recv(fd.get(), chunk, sizeof chunk, 0);
        if (n <= 0) break;
        request.append(chunk, static_cast<std::size_t>(n));
      }
      const auto line = request.substr(0, request.find(" HTTP/1.1"));
      {
        std::lock_guard lock(mutex_);
        asked_.push_back(line);
      }
      const auto bytes = answer_(line);
      if (bytes.empty()) {
        wait(fd.get());  // until the client gives up
        continue;
      }
      ::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    }
  }

  Answer answer_;
  UniqueFd listener_;
  mutable std::mutex mutex_;
  std::vector<std::string> asked_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

inline std::string http_answer(int status, const std::string& body) {
  return "HTTP/1.1 " + std::to_string(status) +
         " X\r\ncontent-type: text/plain\r\ncontent-length: " + std::to_string(body.size()) +
         "\r\nconnection: close\r\n\r\n" + body;
}

// Runs the loop in this thread until `done`, or for 30 s.
inline bool run_until(AsioLoop& loop, const std::function<bool()>& done) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  auto& context = loop.context();
  while (!done() && std::chrono::steady_clock::now() < deadline) {
    context.restart();
    context.run_one_for(std::chrono::milliseconds(20));
  }
  return done();
}

}  // namespace hawser::proxy
