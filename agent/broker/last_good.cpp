// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "broker/last_good.h"

#include <algorithm>

#include "base/file.h"
#include "broker/proxy_args.h"
#include "hawser/broker.pb.h"

namespace hawser::broker {
namespace {

constexpr std::size_t kMaxRecord = 1U << 20U;
constexpr mode_t kMode = 0600;

Result<v1::LastGood> read(const std::string& path) {
  if (!file::exists(path))
    return Error(Code::kNotFound, "HWS-BR-051", "no proxy is known that worked before", "start hawserd");
  auto bytes = file::read_bounded(path, kMaxRecord);
  if (!bytes) return bytes.error();
  v1::LastGood out;
  if (!out.ParseFromString(*bytes))
    return Error(Code::kDataLoss, "HWS-BR-051", path + " is damaged", "remove it, and start hawserd");
  return out;
}

// The bootstrap names the generation, as in the path of its admin socket.
std::string renamed(std::string text, const std::string& from, const std::string& to) {
  for (auto at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

}  // namespace

Status LastGood::remember_started(const Generations::Wanted& wanted, const std::string& version) const {
  v1::LastGood record;
  record.set_generation(wanted.generation);
  record.set_bootstrap(wanted.bootstrap);
  record.set_binary_sha256(wanted.binary_sha256);
  record.set_version(version);
  for (const auto& arg : wanted.args) record.add_args(arg);
  return file::write_atomic(started_path_, record.SerializeAsString(), kMode);
}

Status LastGood::promote(const std::string& generation) const {
  const auto started = read(started_path_);
  if (!started) return started.error();
  if (started->generation() != generation) return {};
  const std::string content = started->SerializeAsString();
  if (const auto good = file::exists(good_path_) ? file::read_bounded(good_path_, kMaxRecord) : std::string();
      good && *good == content)
    return {};
  return file::write_atomic(good_path_, content, kMode);
}

Result<Generations::Wanted> LastGood::load() const {
  auto record = read(good_path_);
  if (!record) return record.error();
  auto name = parse_generation(record->generation());
  if (!name) return name.error();
  const std::string cold = "f" + std::to_string(name->family) + "e0";
  return Generations::Wanted{cold,
                             renamed(record->bootstrap(), record->generation() + ".", cold + "."),
                             record->binary_sha256(),
                             {record->args().begin(), record->args().end()}};
}

std::string LastGood::version_of(const Generations::Wanted& wanted) const {
  const auto record = read(good_path_);
  if (!record || record->generation() != wanted.generation || record->bootstrap() != wanted.bootstrap) return {};
  if (record->binary_sha256() != wanted.binary_sha256) return {};
  const bool same = std::equal(wanted.args.begin(), wanted.args.end(), record->args().begin(), record->args().end());
  return same ? record->version() : std::string();
}

Status LastGood::forget() const {
  if (auto removed = file::remove_durable(started_path_); !removed) return removed;
  return file::remove_durable(good_path_);
}

}  // namespace hawser::broker
