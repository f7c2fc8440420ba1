// SPDX-License-Identifier: Apache-2.0
#include "certs/trust_state.h"

#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "certs/utc.h"
#include "certs/x509.h"

namespace hawser::certs {
namespace {

using nlohmann::json;

constexpr int kSchema = 1;
constexpr std::size_t kMaxStateFile = 4 << 20;
constexpr std::size_t kMaxEntries = 512;

Error damaged(const std::string& why) {
  return {Code::kDataLoss, "HWS-TR-003", why,
          "nothing: roots come anew from their sources; repeat what hawser trust drop was told"};
}

bool is_digest(const json& value) {
  if (!value.is_string()) return false;
  const auto& text = value.get_ref<const std::string&>();
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

std::string digest_of(const json& content) {
  return sha256_hex(content.dump(-1, ' ', true, json::error_handler_t::replace));
}

bool read_digests(const json& content, const char* key, const std::function<void(std::string)>& take) {
  const auto list = content.find(key);
  if (list == content.end() || !list->is_array() || list->size() > kMaxEntries) return false;
  for (const auto& item : *list) {
    if (!is_digest(item)) return false;
    take(item.get<std::string>());
  }
  return true;
}

// Facts are read out of the certificate anew: nothing that is told twice can disagree.
std::optional<TrustedRoot> read_root(const json& item) {
  if (!item.is_object()) return std::nullopt;
  const auto pem = item.find("pem");
  const auto sources = item.find("sources");
  if (pem == item.end() || !pem->is_string() || sources == item.end() || !sources->is_array() ||
      sources->size() > kMaxEntries)
    return std::nullopt;
  const auto split = split_bundle(pem->get<std::string>());
  if (!split || split->size() != 1) return std::nullopt;
  const auto facts = describe_bundle(split->front());
  if (!facts) return std::nullopt;
  const auto& fact = facts->front();
  TrustedRoot root{split->front(), fact.sha256, fact.subject, fact.not_before, fact.not_after, {}, std::nullopt};
  for (const auto& source : *sources) {
    if (!source.is_string()) return std::nullopt;
    root.sources.insert(source.get<std::string>());
  }
  if (const auto until = item.find("retired_until"); until != item.end()) {
    if (!until->is_number_integer()) return std::nullopt;
    root.retired_until = wall_of(until->get<std::int64_t>());
  }
  // One or the other: sent by somebody, or kept for a while.
  if (root.sources.empty() != root.retired_until.has_value()) return std::nullopt;
  return root;
}

}  // namespace

std::string build_trust_state(const TrustState& state, Loop::Duration shift) {
  json content = {{"roots", json::array()}, {"dropped", state.dropped}, {"of_ca", state.of_ca}};
  for (const auto& root : state.roots) {
    json item = {{"pem", root.pem}, {"sources", root.sources}};
    if (root.retired_until) item["retired_until"] = unix_seconds(*root.retired_until + shift);
    content["roots"].push_back(std::move(item));
  }
  const json out = {{"schema_version", kSchema}, {"sha256", digest_of(content)}, {"content", std::move(content)}};
  return out.dump(1, ' ', true, json::error_handler_t::replace) + "\n";
}

Result<TrustState> parse_trust_state(std::string_view text) {
  if (text.size() > kMaxStateFile) return damaged("the trusted roots' file is over 4 MiB");
  const auto file = json::parse(text, nullptr, false);
  if (!file.is_object()) return damaged("the trusted roots' file isn't what was written");
  const auto version = file.find("schema_version");
  // The next version may only add.
  if (version == file.end() || !version->is_number_integer() ||
      (version->get<std::int64_t>() != kSchema && version->get<std::int64_t>() != kSchema + 1))
    return damaged("the trusted roots' file has a version that isn't known here");
  const auto content = file.find("content");
  const auto digest = file.find("sha256");
  if (content == file.end() || !content->is_object() || digest == file.end() || !digest->is_string() ||
      digest->get<std::string>() != digest_of(*content))
    return damaged("the trusted roots' file changed after it was written");
  TrustState state;
  const auto roots = content->find("roots");
  bool whole = roots != content->end() && roots->is_array() && roots->size() <= kMaxEntries &&
               read_digests(*content, "dropped", [&](std::string one) { state.dropped.insert(std::move(one)); }) &&
               read_digests(*content, "of_ca", [&](std::string one) { state.of_ca.push_back(std::move(one)); });
  for (std::size_t i = 0; whole && i < roots->size(); ++i) {
    auto root = read_root((*roots)[i]);
    whole = root.has_value();
    if (whole) state.roots.push_back(std::move(*root));
  }
  if (!whole) return damaged("the trusted roots' file isn't what was written");
  return state;
}

LoadedTrust load_trust_state(const std::string& path) {
  if (!file::exists(path)) return {};
  const auto text = file::read_bounded(path, kMaxStateFile);
  if (!text && text.error().id() != "HWS-FS-003") {
    Error error(text.error().code(), "HWS-TR-004", "can't read " + path, "make it readable for hawserd's user");
    return {{}, std::move(error.because(text.error()))};
  }
  auto state = text ? parse_trust_state(*text) : Result<TrustState>(damaged("the trusted roots' file is over 4 MiB"));
  if (state) return {std::move(*state), std::nullopt};
  Error note = state.error();
  const std::string aside = path + ".damaged";
  const bool moved = std::rename(path.c_str(), aside.c_str()) == 0;
  return {{},
          Error(note.code(), note.id(), note.message() + (moved ? "; it is put aside as " + aside : ""), note.hint())};
}

Status save_trust_state(const std::string& path, const std::string& text) {
  auto written = file::write_atomic(path, text, 0600);
  if (written) return {};
  Error error(written.error().code(), "HWS-TR-004", "can't write " + path,
              "free space, or make the folder writable for hawserd's user");
  return error.because(written.error());
}

}  // namespace hawser::certs
