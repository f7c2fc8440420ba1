// SPDX-License-Identifier: Apache-2.0
#include "bootstrap/grpc_bootstrap.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "golden.h"
#include "sample.h"

namespace hawser::bootstrap {
namespace {

using nlohmann::json;

GrpcOptions grpc_sample() {
  GrpcOptions options;
  options.node = sample_node();
  options.xds_socket = "/run/hawser/proxyless.sock";
  return options;
}

TEST(GrpcBootstrap, IsWhatTheGoldenFileSays) {
  expect_golden("grpc.json", grpc_bootstrap(grpc_sample()));
}

TEST(GrpcBootstrap, TheNodeIsTheHostsMarkedForGrpcAndRegistersNothing) {
  const auto node = json::parse(grpc_bootstrap(grpc_sample()))["node"];
  EXPECT_EQ(node["id"], node_id(sample_node()));
  EXPECT_EQ(node["metadata"]["GENERATOR"], "grpc");
  EXPECT_FALSE(node["metadata"].contains("AUTO_REGISTER_GROUP"));
}

TEST(GrpcBootstrap, CertificateFilesAreNamedOnlyWhereThereAreSome) {
  EXPECT_FALSE(json::parse(grpc_bootstrap(grpc_sample())).contains("certificate_providers"));
  auto options = grpc_sample();
  options.credentials_folder = "/var/run/secrets/workload-spiffe-credentials";
  const auto provider = json::parse(grpc_bootstrap(options))["certificate_providers"]["default"];
  EXPECT_EQ(provider["plugin_name"], "file_watcher");
  EXPECT_EQ(provider["config"]["private_key_file"], options.credentials_folder + "/private_key.pem");
}

}  // namespace
}  // namespace hawser::bootstrap
