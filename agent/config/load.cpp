// SPDX-License-Identifier: Apache-2.0
#include "config/load.h"

#include <grp.h>
#include <pwd.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "base/file.h"
#include "config/reader.h"
#include "config/schema.h"

namespace hawser::config {
namespace {

constexpr std::size_t kMaxFile = 1U << 20U;
constexpr std::uint32_t kNobody = 0xffffffff;  // what the kernel takes for no user at all

void read_text(const std::string& text, const std::string& name, Loaded& out) {
  Sink sink(name, out.errors);
  try {
    const YAML::Node document = YAML::Load(text);
    if (document.IsNull()) return;  // only comments
    MapReader root(document, "", sink);
    read_document(root, out.config);
    root.finish();
  } catch (const YAML::Exception& error) {
    sink.add(error.mark, Error(Code::kInvalidArgument, "HWS-CF-002", "not YAML: " + error.msg,
                               "check indentation and quotes at that place"));
  }
}

std::vector<std::string> yaml_files(const std::string& folder) {
  std::vector<std::string> files;
  std::error_code ignored;  // a missing folder is no error
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored))
    if (entry.path().extension() == ".yaml") files.push_back(entry.path().string());
  std::sort(files.begin(), files.end());
  return files;
}

template <typename Lookup>
Result<unsigned> resolve(const std::string& name, const char* kind, Lookup lookup) {
  unsigned number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error == std::errc() && end == name.data() + name.size()) return number;
  if (auto found = lookup(name)) return *found;
  return Error(Code::kNotFound, "HWS-CF-006", std::string(kind) + " '" + name + "' doesn't exist",
               "run systemd-sysusers, or set it under 'users:'");
}

}  // namespace

std::string HostPort::text() const {
  const bool v6 = host.find(':') != std::string::npos;
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

std::string Config::spiffe_id() const {
  if (!identity.spiffe_id.empty()) return identity.spiffe_id;
  return "spiffe://" + mesh.trust_domain + "/ns/" + mesh.ns + "/sa/" + workload.service_account;
}

const std::string& Config::ca_server_name() const {
  if (!ca.tls_name.empty()) return ca.tls_name;
  return ca.address.empty() || ca.address.host == control_plane.address.host ? control_plane.server_name()
                                                                             : ca.address.host;
}

Loaded load(const Paths& paths) {
  Loaded out;
  std::vector<std::string> files = yaml_files(paths.vendor_dir);
  if (file::exists(paths.main_file)) files.push_back(paths.main_file);
  for (auto& drop_in : yaml_files(paths.drop_in_dir)) files.push_back(drop_in);
  for (const auto& name : files) {
    auto text = file::read_bounded(name, kMaxFile);
    if (!text) {
      out.errors.push_back(
          Error(text.error().code(), "HWS-CF-001", text.error().message(), "make it readable for the user 'hawser'"));
      continue;
    }
    out.files.push_back(name);
    read_text(*text, name, out);
  }
  if (out.errors.empty()) check_whole(out.config, out.errors);
  return out;
}

Loaded parse(const std::string& text, const std::string& name) {
  Loaded out;
  out.files.push_back(name);
  read_text(text, name, out);
  if (out.errors.empty()) check_whole(out.config, out.errors);
  return out;
}

Result<unsigned> resolve_user(const std::string& name) {
  return resolve(name, "user", [](const std::string& n) -> std::optional<unsigned> {
    const passwd* entry = getpwnam(n.c_str());  // NOLINT(concurrency-mt-unsafe): at start, one thread
    return entry == nullptr ? std::nullopt : std::optional<unsigned>(entry->pw_uid);
  });
}

Result<netfilter::IdRange> parse_user_range(const std::string& text) {
  const auto dash = text.find('-');
  const bool range = dash != std::string::npos && dash > 0 && dash + 1 < text.size() &&
                     text.find_first_not_of("0123456789-") == std::string::npos;
  if (!range) {
    const auto uid = resolve_user(text);
    if (!uid) return uid.error();
    return netfilter::IdRange(*uid);
  }
  netfilter::IdRange out;
  const char* end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), text.data() + dash, out.first);
  const auto last = std::from_chars(text.data() + dash + 1, end, out.last);
  if (first.ec != std::errc() || last.ec != std::errc() || last.ptr != end || out.last == kNobody)
    return Error(Code::kInvalidArgument, "HWS-CF-004", "'" + text + "' is no range of users",
                 "write two numbers under 4294967295, like 4001-4010");
  if (out.first > out.last)
    return Error(Code::kInvalidArgument, "HWS-CF-004", "range of users '" + text + "' is inverted",
                 "write the lower number first");
  return out;
}

Result<unsigned> resolve_group(const std::string& name) {
  return resolve(name, "group", [](const std::string& n) -> std::optional<unsigned> {
    const group* entry = getgrnam(n.c_str());  // NOLINT(concurrency-mt-unsafe): at start, one thread
    return entry == nullptr ? std::nullopt : std::optional<unsigned>(entry->gr_gid);
  });
}

}  // namespace hawser::config
