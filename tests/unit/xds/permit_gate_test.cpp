// SPDX-License-Identifier: Apache-2.0
#include "xds/permit_gate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "istio_messages.h"
#include "xds/types.h"

namespace hawser::xds::test {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr ExtensionPermits kNone{};
constexpr ExtensionPermits kLua{true, false};
constexpr ExtensionPermits kWasm{false, true};
constexpr char kPackage[] = "envoy.extensions.";

std::string extension(const std::string& name) {
  return any(kPackage + name, "code");
}

std::string refuse(const std::string& message, const ExtensionPermits& permits, RefusedExtensions& refused) {
  return refuse_extensions(message, permits, refused).value_or("as it came");
}

TEST(RefuseExtensions, WhateverMakesCodeAndWhereverItStands) {
  for (const char* name :
       {"filters.http.lua.v3.Lua", "filters.http.lua.v3.LuaPerRoute", "router.cluster_specifiers.lua.v3.LuaConfig",
        "string_matcher.lua.v3.Lua", "filters.http.wasm.v3.Wasm", "filters.network.wasm.v3.Wasm",
        "access_loggers.wasm.v3.WasmAccessLog", "wasm.v3.WasmService"}) {
    const std::string kept = http_filters({filter("rbac", kRbacConfig)});
    const std::string before = bytes_field(3, bytes_field(3, kept + filter("x", extension(name))) + "\x08\x01");
    RefusedExtensions refused;
    const auto after = refuse(before, kNone, refused);
    EXPECT_EQ(refused.lua + refused.wasm, 1U) << name;
    EXPECT_EQ(after.size(), before.size()) << "no length around it may change";
    EXPECT_THAT(after, HasSubstr(std::string("type.googleapis.com/") + std::string(kRefusedType) + name));
    std::string back = after;
    back.replace(back.find(kRefusedType), kRefusedType.size(), kPackage);
    EXPECT_EQ(back, before) << "nothing else changes";
    EXPECT_FALSE(refuse_extensions(before, kEveryExtension, refused));
  }
}

TEST(RefuseExtensions, InATypedStructAndMoreThanOne) {
  const std::string message = typed_struct(std::string(kPackage) + "filters.http.wasm.v3.Wasm") +
                              extension("filters.http.lua.v3.Lua") + extension("filters.http.lua.v3.LuaPerRoute");
  RefusedExtensions refused;
  EXPECT_THAT(refuse(message, kNone, refused), Not(HasSubstr(kPackage)));
  EXPECT_EQ(refused.wasm, 1U);
  EXPECT_EQ(refused.lua, 2U);
  // Each by its own permit.
  refused = {};
  EXPECT_THAT(refuse(message, kLua, refused), HasSubstr("envoy.extensions.filters.http.lua.v3.LuaPerRoute"));
  EXPECT_EQ(refused.lua, 0U);
  EXPECT_EQ(refused.wasm, 1U);
  refused = {};
  EXPECT_THAT(refuse(message, kWasm, refused), HasSubstr("envoy.extensions.filters.http.wasm.v3.Wasm"));
  EXPECT_EQ(refused.lua, 2U);
  EXPECT_EQ(refused.wasm, 0U);
}

// Envoy takes a TypedStruct's type from behind the last slash, if there's one.
TEST(RefuseExtensions, InATypedStructWithoutAHost) {
  for (const char* name : {"filters.http.lua.v3.Lua", "filters.http.lua.v3.LuaPerRoute", "filters.http.wasm.v3.Wasm"}) {
    RefusedExtensions refused;
    const auto message = any("xds.type.v3.TypedStruct", bytes_field(1, kPackage + std::string(name)));
    EXPECT_THAT(refuse(message, kNone, refused), HasSubstr(std::string(kRefusedType) + name));
    EXPECT_EQ(refused.lua + refused.wasm, 1U);
  }
}

TEST(RefuseExtensions, NothingElse) {
  RefusedExtensions refused;
  for (const std::string& message :
       {kRbacConfig, kTcpProxyConfig, extension("filters.http.luajit.v3.X"), extension("filters.http.notwasm.v3.Wasm"),
        any("example.lua.v3.Lua", "x"), std::string("envoy.extension.filters.http.lua.v3.Lua"), std::string(),
        std::string("envoy.extensions.")})
    EXPECT_FALSE(refuse_extensions(message, kNone, refused)) << message;
}

TEST(PermitGate, EachGenerationByItsOwnSandbox) {
  Metrics metrics;
  HostPermits permits;
  permits.running["f1e0"] = kLua;
  PermitGate gate(permits, metrics);
  const std::string lua = filter("lua", extension("filters.http.lua.v3.Lua"));
  EXPECT_FALSE(gate.apply(kListenerType, lua, "f1e0"));
  EXPECT_TRUE(gate.apply(kListenerType, lua, "f2e0")) << "one that starts now";
  EXPECT_TRUE(gate.apply(kRouteType, lua, "f2e0"));
  EXPECT_FALSE(gate.apply(kEndpointType, lua, "f2e0")) << "no code in endpoints";
  permits.next = kLua;
  permits.running["f1e0"] = kNone;
  gate.permit(permits);
  EXPECT_TRUE(gate.apply(kListenerType, lua, "f1e0")) << "its sandbox is that of its start";
  EXPECT_FALSE(gate.apply(kListenerType, lua, "f2e0"));
  EXPECT_THAT(metrics.text(), HasSubstr("hawser_xds_refused_extensions_total{extension=\"lua\"} 3"));
}

}  // namespace
}  // namespace hawser::xds::test
