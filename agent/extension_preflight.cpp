// SPDX-License-Identifier: Apache-2.0
#include "extension_preflight.h"

#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/log.h"
#include "proxy/broker_host.h"

namespace hawser {
namespace {

using nlohmann::json;
using xds::IstioExtension;
using xds::IstioExtensionSet;

// Only its name among shared memory segments: nothing is started.
constexpr char kGeneration[] = "f1e0";

json listener_with(const json& filter) {
  return {{"name", "preflight"},
          {"address", {{"socket_address", {{"address", "127.0.0.1"}, {"port_value", 0}}}}},
          {"bind_to_port", false},
          {"filter_chains", json::array({{{"filters", json::array({filter})}}})}};
}

json named(const std::string& name, const std::string& type) {
  return {{"name", name},
          {"typed_config",
           {{"@type", "type.googleapis.com/udpa.type.v1.TypedStruct"},
            {"type_url", "type.googleapis.com/" + type},
            {"value", json::object()}}}};
}

std::string bootstrap_with(IstioExtension extension) {
  const std::string name(xds::istio_extension_name(extension));
  json filter = named(name, std::string(xds::istio_extension_type(extension)));
  if (extension == IstioExtension::kAlpn || extension == IstioExtension::kPeerMetadata) {
    // These are HTTP filters.
    const std::string package = "type.googleapis.com/envoy.extensions.filters.";
    const json router = {{"name", "router"}, {"typed_config", {{"@type", package + "http.router.v3.Router"}}}};
    filter = {{"name", "manager"},
              {"typed_config",
               {{"@type", package + "network.http_connection_manager.v3.HttpConnectionManager"},
                {"stat_prefix", "preflight"},
                {"route_config", json::object()},
                {"http_filters", json::array({filter, router})}}}};
  }
  return json{{"static_resources", {{"listeners", json::array({listener_with(filter)})}}}}.dump();
}

Error lacking_extensions_error(const IstioExtensionSet& lacking) {
  return {Code::kFailedPrecondition, "HWS-XDS-052",
          "the installed proxy lacks " + xds::istio_extension_names(lacking) +
              ", which a default istiod sends, and compat.istio_extensions is keep",
          "set compat.istio_extensions: strip, or install Istio's build of Envoy (hawser proxy install), or let istiod "
          "not send them (docs/compatibility.md)"};
}

struct Search {
  proxy::GenerationHost& host;
  std::function<void(Result<IstioExtensionSet>)> done;
  IstioExtensionSet lacking;
};

void ask(const std::shared_ptr<Search>& search, std::size_t index) {
  if (index == xds::kIstioExtensionCount) return search->done(search->lacking);
  search->host.validate(kGeneration, bootstrap_with(xds::kIstioExtensions[index]), {}, {},
                        [search, index](const Result<proxy::Validation>& result) {
                          if (!result) return search->done(result.error());
                          // Other complaints are about the configuration, which is none of the extension's own.
                          if (result->detail.find("Didn't find a registered implementation") != std::string::npos)
                            search->lacking.set(index);
                          ask(search, index + 1);
                        });
}

}  // namespace

void find_lacking_extensions(proxy::GenerationHost& host, std::function<void(Result<IstioExtensionSet>)> done) {
  ask(std::make_shared<Search>(Search{host, std::move(done), {}}), 0);
}

void check_extensions(broker::BrokerClient* broker, HealthSink& health, std::function<void()> done) {
  if (broker == nullptr) return done();
  const auto host = std::make_shared<proxy::BrokerHost>(*broker);
  find_lacking_extensions(*host, [host, &health, done = std::move(done)](const Result<IstioExtensionSet>& lacking) {
    if (!lacking) {
      log::warn("the proxy's binary can't be asked for its extensions", {{"cause", lacking.error().to_string()}});
    } else if (lacking->any()) {
      const Error error = lacking_extensions_error(*lacking);
      log::warn(error.to_string());
      health.report("istio-extensions", HealthState::kDegraded, error.message(), &error);
    }
    done();
  });
}

}  // namespace hawser
