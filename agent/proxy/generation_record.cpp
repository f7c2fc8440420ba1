// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "proxy/generation_record.h"

#include <nlohmann/json.hpp>

#include "base/file.h"

namespace hawser::proxy {
namespace {

using Json = nlohmann::json;
constexpr std::size_t kMaxRecord = 256U << 10U;

Json to_json(const ProcessIdentity& process) {
  return {{"pid", process.pid}, {"start_time", process.start_time}};
}

ProcessIdentity identity_of(const Json& json) {
  return {json.at("pid").get<pid_t>(), json.at("start_time").get<std::uint64_t>()};
}

Json to_json(const GenerationSpec& spec) {
  return {{"name", spec.name},
          {"binary", spec.binary},
          {"binary_sha256", spec.binary_sha256},
          {"argv", spec.argv},
          {"env", spec.env},
          {"uid", spec.uid},
          {"gid", spec.gid},
          {"bootstrap", spec.bootstrap},
          {"log", spec.log},
          {"leftovers", spec.leftovers},
          {"family_leftovers", spec.family_leftovers},
          {"permits", permit_words(spec.permits)},
          {"memory_max", spec.memory_max}};
}

GenerationSpec spec_of(const Json& json) {
  GenerationSpec out;
  json.at("name").get_to(out.name);
  json.at("binary").get_to(out.binary);
  json.at("binary_sha256").get_to(out.binary_sha256);
  json.at("argv").get_to(out.argv);
  json.at("env").get_to(out.env);
  json.at("uid").get_to(out.uid);
  json.at("gid").get_to(out.gid);
  json.at("bootstrap").get_to(out.bootstrap);
  json.at("log").get_to(out.log);
  json.at("leftovers").get_to(out.leftovers);
  json.at("family_leftovers").get_to(out.family_leftovers);
  // Older ones have none, and their sandbox permitted nothing.
  out.permits = permits_of(json.value("permits", std::vector<std::string>()));
  out.memory_max = json.value("memory_max", std::uint64_t{0});
  return out;
}

}  // namespace

std::string record_path(const std::string& run_folder, const std::string& name) {
  return run_folder + "/" + name + ".json";
}

Result<GenerationRecord> load_record(const std::string& path) {
  auto text = file::read_bounded(path, kMaxRecord);
  if (!text) return text.error();
  try {
    const Json json = Json::parse(*text);
    GenerationRecord out;
    out.spec = spec_of(json.at("spec"));
    json.at("boot_id").get_to(out.boot);
    out.holder = identity_of(json.at("holder"));
    out.process = identity_of(json.at("process"));
    out.invocation = json.value("invocation", std::string());  // the first release didn't have it
    json.at("started_at").get_to(out.started_at);
    json.at("ended").get_to(out.ended);
    json.at("exit_status").get_to(out.exit_status);
    out.out_of_memory = json.value("out_of_memory", false);
    return out;
  } catch (const Json::exception& error) {
    return Error(Code::kDataLoss, "HWS-BR-024", path + " is damaged: " + error.what(),
                 "end that proxy by hand, then remove the file");
  }
}

Status save_record(const std::string& path, const GenerationRecord& record) {
  const Json json = {{"schema_version", 1},
                     {"spec", to_json(record.spec)},
                     {"boot_id", record.boot},
                     {"holder", to_json(record.holder)},
                     {"process", to_json(record.process)},
                     {"invocation", record.invocation},
                     {"started_at", record.started_at},
                     {"ended", record.ended},
                     {"exit_status", record.exit_status},
                     {"out_of_memory", record.out_of_memory}};
  // Arguments may hold any bytes; what isn't UTF-8 is replaced, since dump() would throw.
  return file::write_atomic(path, json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n", 0644);
}

}  // namespace hawser::proxy
