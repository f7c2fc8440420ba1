// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace hawser::xds::test {

// A throw-away authority and one server certificate by it.
struct TestCertificates {
  std::string root_pem;
  std::string key_pem;
  std::string chain_pem;
};

TestCertificates make_certificates(const std::string& dns_name);

}  // namespace hawser::xds::test
