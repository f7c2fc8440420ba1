// SPDX-License-Identifier: Apache-2.0
#include "token_sources.h"

#include <cstdlib>

#include "certs/token_credential.h"
#include "certs/token_exec.h"
#include "certs/token_file.h"
#include "certs/token_gce.h"
#include "certs/token_kubernetes.h"

namespace hawser {
namespace {

using Source = config::TokenSettings::Source;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

std::shared_ptr<certs::TokenSource> make_source(const config::Config& config, const certs::KeyStore& store) {
  const config::TokenSettings& token = config.identity.token;
  switch (token.source) {
    case Source::kExec:
      return std::make_shared<certs::ExecTokenSource>(
          certs::ExecTokenSource::Options{token.command, token.audience, token.timeout});
    case Source::kCredential:
      return std::make_shared<certs::CredentialTokenSource>(environment("CREDENTIALS_DIRECTORY"), token.credential);
    case Source::kGce:
      return std::make_shared<certs::GceTokenSource>(
          certs::GceTokenSource::Options{token.audience, token.timeout, environment("GCE_METADATA_HOST")});
    case Source::kKubernetes:
      return std::make_shared<certs::KubernetesTokenSource>(
          certs::KubernetesTokenSource::Options{token.kubeconfig, token.kube_context, config.mesh.ns,
                                                config.workload.service_account, token.audience, token.timeout});
    case Source::kFile:
      break;
  }
  return std::make_shared<certs::FileTokenSource>(token.path, store.token_path());
}

}  // namespace

std::shared_ptr<certs::TokenCache> make_token_source(const config::Config& config, const certs::KeyStore& store) {
  return std::make_shared<certs::TokenCache>(make_source(config, store));
}

}  // namespace hawser
