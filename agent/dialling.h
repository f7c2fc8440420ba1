// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "base/asio_loop.h"
#include "config/config.h"
#include "dial/dialler.h"

namespace hawser {

// What: how the configuration says that control plane and CA are dialled: control_plane.addresses, else
// control_plane.dial with the port of control_plane.address, else that address; the same for the CA. Threading: pure
// but for load_proxy(). Failure: HWS-DL-007, the proxy's credentials can't be used.
std::vector<dial::Address> plane_addresses(const config::Config& config);
std::vector<dial::Address> ca_addresses(const config::Config& config);
// Reads the credentials' file: on the slow worker.
Result<std::optional<dial::Selection::Proxy>> load_proxy(const config::HttpProxy& settings);

// `roots`: whom the control plane must be certified by, asked at each look.
std::unique_ptr<dial::Dialler> make_plane_dialler(AsioLoop& loop, SlowWorker& slow, const config::Config& config,
                                                  std::optional<dial::Selection::Proxy> proxy,
                                                  std::function<std::string()> roots);
std::unique_ptr<dial::Dialler> make_ca_dialler(AsioLoop& loop, SlowWorker& slow, const config::Config& config,
                                               std::optional<dial::Selection::Proxy> proxy);

}  // namespace hawser
