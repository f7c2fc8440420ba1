#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Keeps builds short and licences apart: heavy headers only in .cpp files, none of gRPC or OpenSSL in what the broker links.
set -euo pipefail
cd "$(dirname "$0")/.."
bad=0
report() {
  [ -z "$1" ] || {
    printf '%s\n%s\n' "$2" "$1" >&2
    bad=1
  }
}
heavy='#include <(grpcpp|boost/process|boost/beast|openssl|nlohmann/json\.hpp|yaml-cpp)'
# Private to their folders.
allowed='^(agent/(config/reader|xds/.*|sds/.*)|certs/ca_call|tests/unit/certs/ca_fixture)\.h:'
report "$(git ls-files '*.h' | xargs grep -nE "$heavy" | grep -vE "$allowed" || true)" "heavy headers in a .h:"
broker=(agent/base agent/broker netfilter agent/main_broker.cpp agent/proxy/launcher.h agent/proxy/direct_launcher.cpp)
report "$(grep -rnE '#include <(grpc|openssl|absl)' "${broker[@]}" 2>/dev/null || true)" "gRPC, OpenSSL or abseil in the broker:"
report "$(git ls-files 'agent/base/*.cpp' 'agent/base/*.h' 'netfilter/*.cpp' 'netfilter/*.h' 'agent/broker/*.cpp' 'agent/broker/*.h' |
  xargs grep -L 'SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later' || true)" "linked into the broker without its licence header:"
exit $bad
