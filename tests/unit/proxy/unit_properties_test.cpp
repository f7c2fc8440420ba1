// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "proxy/unit_properties.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

namespace hawser::proxy {
namespace {

GenerationSpec generation() {
  GenerationSpec out;
  out.name = "f1e0";
  out.binary = "/store/abc/envoy";
  out.argv = {"/store/abc/envoy", "-c", "/boot/f1e0.json"};
  out.uid = 996;
  out.gid = 995;
  out.leftovers = {"/run/hawser/proxy/f1e0.admin.sock"};
  out.family_leftovers = {"/dev/shm/envoy_shared_memory_10"};
  return out;
}

// The D-Bus type of each alternative of UnitProperty::Value, in its order.
const char* type_of(const UnitProperty& property) {
  static constexpr const char* kTypes[] = {"b", "u", "i", "t", "s", "as", "a(sasb)", "(bas)", "aay", "h"};
  static_assert(std::size(kTypes) == std::variant_size_v<UnitProperty::Value>);
  return kTypes[property.value.index()];
}

const UnitProperty* find(const UnitProperties& properties, const std::string& name) {
  const auto at =
      std::find_if(properties.begin(), properties.end(), [&name](const auto& item) { return item.name == name; });
  return at == properties.end() ? nullptr : &*at;
}

template <typename T>
T value(const UnitProperties& properties, const std::string& name) {
  const auto* property = find(properties, name);
  if (property == nullptr || !std::holds_alternative<T>(property->value)) {
    ADD_FAILURE() << name << " isn't set, or of another type";
    return {};
  }
  return std::get<T>(property->value);
}

TEST(UnitProperties, HaveTheTypesThatSystemdExpects) {
  // One wrong type, and systemd refuses the whole unit.
  const std::map<std::string, std::string> kTypes = {{"ExecStart", "a(sasb)"},
                                                     {"ExecStopPost", "a(sasb)"},
                                                     {"User", "s"},
                                                     {"Group", "s"},
                                                     {"Slice", "s"},
                                                     {"Type", "s"},
                                                     {"KillMode", "s"},
                                                     {"Restart", "s"},
                                                     {"Description", "s"},
                                                     {"CollectMode", "s"},
                                                     {"StandardOutput", "s"},
                                                     {"StandardError", "s"},
                                                     {"SyslogIdentifier", "s"},
                                                     {"ProtectSystem", "s"},
                                                     {"ProtectHome", "s"},
                                                     {"ProtectProc", "s"},
                                                     {"ProcSubset", "s"},
                                                     {"DevicePolicy", "s"},
                                                     {"KeyringMode", "s"},
                                                     {"ReadWritePaths", "as"},
                                                     {"NoExecPaths", "as"},
                                                     {"ExecPaths", "as"},
                                                     {"Before", "as"},
                                                     {"Environment", "as"},
                                                     {"SystemCallArchitectures", "as"},
                                                     {"UMask", "u"},
                                                     {"CapabilityBoundingSet", "t"},
                                                     {"AmbientCapabilities", "t"},
                                                     {"RestrictNamespaces", "t"},
                                                     {"LimitNOFILE", "t"},
                                                     {"LimitNOFILESoft", "t"},
                                                     {"LimitCORE", "t"},
                                                     {"LimitDATA", "t"},
                                                     {"MemoryMax", "t"},
                                                     {"TimeoutStartUSec", "t"},
                                                     {"TimeoutStopUSec", "t"},
                                                     {"RuntimeMaxUSec", "t"},
                                                     {"LogRateLimitIntervalUSec", "t"},
                                                     {"OOMScoreAdjust", "i"},
                                                     {"SystemCallErrorNumber", "i"},
                                                     {"LogExtraFields", "aay"},
                                                     {"SystemCallFilter", "(bas)"},
                                                     {"RestrictAddressFamilies", "(bas)"},
                                                     {"StandardOutputFileDescriptor", "h"},
                                                     {"StandardErrorFileDescriptor", "h"}};
  ShortRun run;
  run.output = 9;
  run.errors_too = true;
  run.memory = 1;
  run.writable = {"-/run/x"};
  auto limited = generation();
  limited.memory_max = 1;
  auto all = generation_properties(limited);
  for (auto& property : short_run_properties(run)) all.push_back(std::move(property));
  for (const auto& property : all) {
    const auto known = kTypes.find(property.name);
    EXPECT_STREQ(type_of(property), known == kTypes.end() ? "b" : known->second.c_str()) << property.name;
  }
}

TEST(UnitProperties, AGenerationRunsAsItsUserAlone) {
  const auto properties = generation_properties(generation());
  EXPECT_EQ(value<std::string>(properties, "User"), "996");
  EXPECT_EQ(value<std::string>(properties, "Group"), "995");
  EXPECT_EQ(value<std::uint64_t>(properties, "CapabilityBoundingSet"), 0U);
  EXPECT_EQ(value<std::uint64_t>(properties, "AmbientCapabilities"), 0U);
  EXPECT_TRUE(value<bool>(properties, "NoNewPrivileges"));
  EXPECT_TRUE(value<bool>(properties, "PrivateUsers"));
  EXPECT_EQ(value<std::uint64_t>(properties, "LimitCORE"), 0U);
}

TEST(UnitProperties, GenerationsOfAFamilyCanFindEachOther) {
  const auto properties = generation_properties(generation());
  EXPECT_EQ(find(properties, "PrivateNetwork"), nullptr);  // abstract sockets
  EXPECT_EQ(find(properties, "TemporaryFileSystem"), nullptr);
  EXPECT_FALSE(value<bool>(properties, "RemoveIPC"));
  EXPECT_EQ(value<std::vector<std::string>>(properties, "ReadWritePaths"),
            std::vector<std::string>{"-/run/hawser/proxy"});
}

TEST(UnitProperties, NothingCanDeadlockOrHideTheEnd) {
  const auto properties = generation_properties(generation());
  EXPECT_EQ(find(properties, "After"), nullptr);
  EXPECT_EQ(find(properties, "CollectMode"), nullptr);  // a failure stays until it has been read
  EXPECT_EQ(value<std::string>(properties, "Restart"), "no");
  EXPECT_EQ(value<std::string>(properties, "Type"), "exec");
}

TEST(UnitProperties, TheAdminSocketGoesWithTheUnit) {
  const auto command = value<UnitCommand>(generation_properties(generation()), "ExecStopPost");
  EXPECT_EQ(command.argv, (std::vector<std::string>{"/bin/rm", "-f", "--", "/run/hawser/proxy/f1e0.admin.sock"}));
  EXPECT_TRUE(command.may_fail);
  // What the family shares isn't this generation's to remove.
  auto bare = generation();
  bare.leftovers.clear();
  EXPECT_EQ(find(generation_properties(bare), "ExecStopPost"), nullptr);
}

// What is set for `permits` and isn't without, or the other way round.
std::vector<std::string> relaxed(const ExtensionPermits& permits) {
  auto spec = generation();
  const auto strict = generation_properties(spec);
  spec.permits = permits;
  const auto with = generation_properties(spec);
  std::vector<std::string> out;
  for (const auto& property : strict)
    if (find(with, property.name) == nullptr) out.push_back("-" + property.name);
  EXPECT_EQ(strict.size() - out.size(), with.size()) << "nothing is added";
  const auto calls = value<UnitFilter>(with, "SystemCallFilter");
  const auto before = value<UnitFilter>(strict, "SystemCallFilter");
  EXPECT_TRUE(calls.allow);
  EXPECT_TRUE(std::equal(before.names.begin(), before.names.end(), calls.names.begin()));
  out.insert(out.end(), calls.names.begin() + static_cast<std::ptrdiff_t>(before.names.size()), calls.names.end());
  return out;
}

TEST(UnitProperties, EachPermitRelaxesWhatItNeedsAndNothingElse) {
  using Names = std::vector<std::string>;
  EXPECT_TRUE(value<bool>(generation_properties(generation()), "MemoryDenyWriteExecute"));
  EXPECT_EQ(relaxed({}), Names());
  EXPECT_EQ(relaxed({true, false}), Names{"-MemoryDenyWriteExecute"});
  EXPECT_EQ(relaxed({false, true}), (Names{"-MemoryDenyWriteExecute", "@pkey"}));
  EXPECT_EQ(relaxed(kEveryExtension), (Names{"-MemoryDenyWriteExecute", "@pkey"}));
}

TEST(UnitProperties, AValidationRunsInTheSandboxOfAGeneration) {
  ShortRun run;
  EXPECT_NE(find(short_run_properties(run), "MemoryDenyWriteExecute"), nullptr);
  run.permits = kEveryExtension;
  EXPECT_EQ(find(short_run_properties(run), "MemoryDenyWriteExecute"), nullptr);
  EXPECT_EQ(value<UnitFilter>(short_run_properties(run), "SystemCallFilter").names.back(), "@pkey");
}

TEST(UnitProperties, OutputGoesToTheJournalOrToTheFile) {
  auto spec = generation();
  EXPECT_EQ(value<std::string>(generation_properties(spec), "StandardError"), "journal");
  spec.log = "/var/log/x.log";
  EXPECT_EQ(value<std::string>(generation_properties(spec), "StandardOutput"), "append:/var/log/x.log");
}

TEST(UnitProperties, MemoryIsLimitedOnlyWhereThereIsALimit) {
  auto spec = generation();
  EXPECT_EQ(find(generation_properties(spec), "MemoryMax"), nullptr);
  spec.memory_max = 3ULL << 30U;
  EXPECT_EQ(value<std::uint64_t>(generation_properties(spec), "MemoryMax"), 3ULL << 30U);
  EXPECT_EQ(find(generation_properties(spec), "MemoryHigh"), nullptr) << "a throttled proxy looks like one that hangs";
}

TEST(UnitProperties, AShortRunEndsAndVanishesByItself) {
  ShortRun run;
  run.limit = std::chrono::milliseconds(1500);
  const auto properties = short_run_properties(run);
  EXPECT_EQ(value<std::uint64_t>(properties, "RuntimeMaxUSec"), 1'500'000U);
  EXPECT_EQ(value<std::string>(properties, "CollectMode"), "inactive-or-failed");
  EXPECT_EQ(find(properties, "StandardErrorFileDescriptor"), nullptr);
  EXPECT_EQ(find(properties, "LimitDATA"), nullptr);
  run.memory = 1U << 30U;
  EXPECT_EQ(value<std::uint64_t>(short_run_properties(run), "LimitDATA"), 1U << 30U);
}

TEST(UnitNames, AreThoseOfGenerationsAndOfNothingElse) {
  EXPECT_EQ(unit_of("f1e0"), "hawser-proxy-f1e0.service");
  EXPECT_EQ(generation_of("hawser-proxy-f12e345.service"), "f12e345");
  for (const char* other :
       {"hawser-proxy-run-1-0.service", "hawser-proxy-.service", "hawser-proxy-f1.service", "hawser-proxy-f1e.service",
        "hawser-proxy-fe1.service", "hawser-proxy-f1e0x.service", "hawser-proxy-f1e0.slice", "hawser.service", ""})
    EXPECT_EQ(generation_of(other), "") << other;
}

TEST(DropUnknown, OnlyWhatIsOptional) {
  auto properties = generation_properties(generation());
  const auto size = properties.size();
  EXPECT_EQ(drop_unknown(properties, "Cannot set property ProcSubset, or unknown property."), "ProcSubset");
  EXPECT_EQ(properties.size(), size - 1);
  EXPECT_EQ(find(properties, "ProcSubset"), nullptr);
  // Rather no proxy than one with root's rights.
  EXPECT_EQ(drop_unknown(properties, "Cannot set property User, or unknown property."), "");
  EXPECT_EQ(drop_unknown(properties, "Cannot set property NoNewPrivileges, or unknown property."), "");
  EXPECT_EQ(drop_unknown(properties, "Failed to set unit properties: Unexpected message contents"), "");
  EXPECT_EQ(properties.size(), size - 1);
}

}  // namespace
}  // namespace hawser::proxy
