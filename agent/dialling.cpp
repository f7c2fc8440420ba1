// SPDX-License-Identifier: Apache-2.0
#include "dialling.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/fd.h"
#include "base/log.h"
#include "certs/tls_probe.h"
#include "dial/basic_auth.h"
#include "dial/no_proxy.h"

namespace hawser {
namespace {

constexpr std::chrono::milliseconds kProbeTimeout{3'000};

std::vector<dial::Address> addresses_of(const std::vector<config::PlaneAddress>& listed, const config::HostPort& single,
                                        const std::vector<std::string>& dial, const config::HttpProxy& proxy) {
  std::vector<dial::Address> out;
  for (const auto& item : listed) out.push_back({item.at.host, item.at.port, item.priority, false});
  if (out.empty())
    for (const auto& host : dial) out.push_back({host, single.port, 0, false});
  if (out.empty()) out.push_back({single.host, single.port, 0, false});
  if (!proxy.address.empty())
    for (auto& address : out) address.by_proxy = !dial::bypasses_proxy(address.host, proxy.no_proxy);
  return out;
}

Error unusable(const std::string& path, const std::string& why) {
  return Error(Code::kFailedPrecondition, "HWS-DL-007", "the HTTP proxy's credentials in " + path + " " + why,
               "put user:password on one line, owned by root:hawser with mode 0640");
}

Result<std::string> read_credentials(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  struct stat info {};
  if (!file || ::fstat(file.get(), &info) != 0)
    return unusable(path, std::string("can't be read: ") + std::strerror(errno));
  if (!S_ISREG(info.st_mode)) return unusable(path, "aren't a file");
  if ((info.st_mode & (S_IROTH | S_IWOTH | S_IWGRP)) != 0)
    return unusable(path, "are open to others (mode is too wide)");
  std::array<char, 1024> buffer{};
  const ssize_t got = ::read(file.get(), buffer.data(), buffer.size());
  if (got < 0) return unusable(path, std::string("can't be read: ") + std::strerror(errno));
  std::string text(buffer.data(), static_cast<std::size_t>(got));
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  const bool plain = std::none_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; });
  if (got == static_cast<ssize_t>(buffer.size()) || !plain || text.find(':') == std::string::npos || text[0] == ':')
    return unusable(path, "aren't one line user:password");
  return text;
}

std::function<void(const dial::Route&, std::function<void(bool)>)> tls_probe_of(AsioLoop& loop, SlowWorker& slow,
                                                                                std::string name,
                                                                                std::function<std::string()> roots) {
  return [&loop, &slow, name = std::move(name), roots = std::move(roots)](const dial::Route& route,
                                                                          std::function<void(bool)> done) {
    certs::TlsTarget target{route.address, name, roots(), route.connect_to, dial::proxy_authorization(route)};
    slow.submit([&loop, target = std::move(target), done = std::move(done)] {
      const auto finding = certs::probe_tls(target, kProbeTimeout);
      if (finding.cause != certs::TlsCause::kNone)
        log::debug("a better address isn't well yet", {{"address", target.address}, {"cause", finding.detail}});
      loop.post([done, well = finding.cause == certs::TlsCause::kNone] { done(well); });
    });
  };
}

}  // namespace

std::vector<dial::Address> plane_addresses(const config::Config& config) {
  const auto& plane = config.control_plane;
  return addresses_of(plane.addresses, plane.address, plane.dial, plane.http_proxy);
}

std::vector<dial::Address> ca_addresses(const config::Config& config) {
  const auto& plane = config.control_plane;
  if (!config.ca.addresses.empty()) return addresses_of(config.ca.addresses, config.ca.address, {}, plane.http_proxy);
  if (config.ca.address.empty() || config.ca.address.text() == plane.address.text()) return plane_addresses(config);
  // The configured addresses are the plane's gateway: they serve the CA too when the host is the same.
  if (config.ca.address.host != plane.address.host) return addresses_of({}, config.ca.address, {}, plane.http_proxy);
  auto same = plane_addresses(config);
  for (auto& address : same) address.port = config.ca.address.port;
  return same;
}

Result<std::optional<dial::Selection::Proxy>> load_proxy(const config::HttpProxy& settings) {
  if (settings.address.empty()) return std::optional<dial::Selection::Proxy>();
  dial::Selection::Proxy proxy{settings.address.host, settings.address.port, {}};
  if (!settings.credentials_file.empty()) {
    auto credentials = read_credentials(settings.credentials_file);
    if (!credentials) return credentials.error();
    proxy.password = std::move(*credentials);
  }
  return std::optional<dial::Selection::Proxy>(std::move(proxy));
}

std::unique_ptr<dial::Dialler> make_plane_dialler(AsioLoop& loop, SlowWorker& slow, const config::Config& config,
                                                  std::optional<dial::Selection::Proxy> proxy,
                                                  std::function<std::string()> roots) {
  dial::Dialler::Options options;
  options.who = "the control plane";
  options.addresses = plane_addresses(config);
  options.proxy = std::move(proxy);
  options.policy.fail_over = config.control_plane.fail_over;
  options.policy.fail_back = config.control_plane.fail_back;
  return std::make_unique<dial::Dialler>(
      loop, std::move(options),
      dial::real_ways(loop, slow, tls_probe_of(loop, slow, config.control_plane.server_name(), std::move(roots))));
}

std::unique_ptr<dial::Dialler> make_ca_dialler(AsioLoop& loop, SlowWorker& slow, const config::Config& config,
                                               std::optional<dial::Selection::Proxy> proxy) {
  dial::Dialler::Options options;
  options.who = "the CA";
  options.addresses = ca_addresses(config);
  options.proxy = std::move(proxy);
  // A call is rare and has to succeed: the next group at once, and each call begins with the best one.
  options.policy.fail_over = 1;
  return std::make_unique<dial::Dialler>(loop, std::move(options), dial::real_ways(loop, slow, nullptr));
}

}  // namespace hawser
