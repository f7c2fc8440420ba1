// SPDX-License-Identifier: Apache-2.0
#include <sha2.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "cli/command.h"
#include "cli/wire_text.h"
#include "cli/xds_group.h"
#include "xds/snapshot/store.h"

namespace hawser::cli {
namespace {

using nlohmann::json;
using xds::snapshot::Store;
namespace records = xds::snapshot::records;

struct XdsSnapshotOptions {
  std::string type;
  std::string name;
  std::string raw;
  bool as_json = false;
};

Store store_of(const Context& context) {
  return {context.state_dir + "/xds", 0, [] { return std::chrono::system_clock::now(); }};
}

std::string time_text(Loop::Wall when) {
  const auto clock =
      std::chrono::system_clock::to_time_t(std::chrono::time_point_cast<std::chrono::system_clock::duration>(when));
  std::tm parts{};
  char text[32] = "";
  if (gmtime_r(&clock, &parts) != nullptr) std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

std::string short_type(const std::string& url) {
  return url.substr(url.find_last_of("./") + 1);
}

std::string sha256(std::string_view bytes) {
  char text[SHA256_DIGEST_STRING_LENGTH];
  return SHA256Data(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size(), text);
}

Error none(const std::string& what) {
  return {Code::kNotFound, "HWS-SN-008", what, "hawser xds snapshot list shows what there is"};
}

// Private keys aren't printed.
bool secret(const std::string& type) {
  return short_type(type) == "Secret";
}

json list_json(const Store::Loaded& loaded) {
  const auto& manifest = *loaded.manifest;
  json out = {{"schema_version", 1},
              {"as_of", time_text(manifest.as_of)},
              {"node_identity", manifest.node_identity},
              {"confirmed", !manifest.confirmed_plan.empty()},
              {"bytes", manifest.bytes()},
              {"types", json::array()},
              {"damaged", json::array()}};
  for (const auto& type : manifest.types)
    out["types"].push_back({{"type", type.type_url},
                            {"resources", type.resources},
                            {"bytes", type.bytes},
                            {"version", type.system_version},
                            {"accepted_at", time_text(type.accepted_at)},
                            {"wildcard", type.wildcard},
                            {"file", type.file}});
  for (const auto& type : loaded.lost) out["damaged"].push_back(type);
  return out;
}

void print_list(const Store::Loaded& loaded) {
  const auto& manifest = *loaded.manifest;
  std::printf("last good of %s, for %s; interception %s\n", time_text(manifest.as_of).c_str(),
              manifest.node_identity.c_str(), manifest.confirmed_plan.empty() ? "never confirmed" : "confirmed");
  std::printf("%-28s %9s %10s  %-20s %s\n", "TYPE", "RESOURCES", "BYTES", "ACCEPTED", "VERSION");
  for (const auto& type : manifest.types)
    std::printf("%-28s %9llu %10llu  %-20s %s\n", short_type(type.type_url).c_str(),
                static_cast<unsigned long long>(type.resources), static_cast<unsigned long long>(type.bytes),
                time_text(type.accepted_at).c_str(), type.system_version.c_str());
}

// Nullopt: it was told why.
std::optional<Store::Loaded> load(Context& context, const std::string& verb) {
  if (!need_root(context, verb)) return std::nullopt;
  auto loaded = store_of(context).inspect();
  for (const auto& note : loaded.notes) warn(note.to_string());
  if (loaded.manifest) return loaded;
  fail(context, none("there is no last-good snapshot"));
  return std::nullopt;
}

void list(Context& context, const XdsSnapshotOptions& options) {
  const auto loaded = load(context, "xds snapshot list");
  if (!loaded) return;
  if (options.as_json)
    std::printf("%s\n", list_json(*loaded).dump(2, ' ', false, json::error_handler_t::replace).c_str());
  else
    print_list(*loaded);
}

void show_all(const records::Type& type, bool as_json) {
  json out = {{"schema_version", 1}, {"type", type.header.type_url}, {"resources", json::array()}};
  for (const auto& resource : type.resources) {
    if (!as_json) {
      std::printf("%10zu  %.16s  %s\n", resource.body.size(), sha256(resource.body).c_str(), resource.name.c_str());
      continue;
    }
    out["resources"].push_back({{"name", resource.name},
                                {"version", resource.version},
                                {"bytes", resource.body.size()},
                                {"sha256", sha256(resource.body)}});
  }
  if (as_json) std::printf("%s\n", out.dump(2, ' ', false, json::error_handler_t::replace).c_str());
}

void show_one(Context& context, const records::Type& type, const records::Resource& resource,
              const XdsSnapshotOptions& options) {
  if (!options.raw.empty()) {
    if (auto written = file::write_atomic(options.raw, resource.body, 0600); !written) fail(context, written.error());
    return;
  }
  const std::string text =
      secret(type.header.type_url) ? "it may hold a private key: --raw FILE writes it\n" : wire_text(resource.body);
  if (!options.as_json) {
    std::printf("%s", text.c_str());
    return;
  }
  const json out = {{"schema_version", 1},
                    {"type", type.header.type_url},
                    {"name", resource.name},
                    {"version", resource.version},
                    {"bytes", resource.body.size()},
                    {"sha256", sha256(resource.body)},
                    {"fields", text}};
  std::printf("%s\n", out.dump(2, ' ', false, json::error_handler_t::replace).c_str());
}

void show(Context& context, const XdsSnapshotOptions& options) {
  const auto loaded = load(context, "xds snapshot show");
  if (!loaded) return;
  const auto type = std::find_if(loaded->types.begin(), loaded->types.end(), [&](const auto& item) {
    return item.header.type_url == options.type || short_type(item.header.type_url) == options.type;
  });
  if (type == loaded->types.end()) return fail(context, none("the snapshot has no type " + options.type));
  if (options.name.empty()) return show_all(*type, options.as_json);
  const auto resource = std::find_if(type->resources.begin(), type->resources.end(),
                                     [&](const auto& item) { return item.name == options.name; });
  if (resource == type->resources.end())
    return fail(context, none("the snapshot has no " + options.type + " " + options.name));
  show_one(context, *type, *resource, options);
}

}  // namespace

void add_xds_snapshot(CLI::App& app, Context& context) {
  auto* group = xds_group(app).add_subcommand("snapshot", "The last-good snapshot on disk; hawserd needn't run");
  group->require_subcommand(1);
  auto options = std::make_shared<XdsSnapshotOptions>();
  auto* list_command = group->add_subcommand("list", "Its types, their sizes and times");
  list_command->add_flag("--json", options->as_json, "Print as JSON");
  list_command->callback([&context, options] { list(context, *options); });
  auto* show_command = group->add_subcommand("show", "The resources of a type, or one of them by field numbers");
  show_command->add_option("TYPE", options->type, "Type URL, or its last part: Cluster")->required();
  show_command->add_option("NAME", options->name, "One resource");
  show_command->add_option("--raw", options->raw, "Write the resource's bytes (a discovery Resource) to this file");
  show_command->add_flag("--json", options->as_json, "Print as JSON");
  show_command->callback([&context, options] { show(context, *options); });
}

}  // namespace hawser::cli
