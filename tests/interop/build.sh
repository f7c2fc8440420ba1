#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds istiod (pilot-discovery), kube-apiserver and etcd from their published Go modules, at the versions that two
# go.sum files pin, into a cache folder that git ignores. A second run finds the stamp, builds nothing and needs no network.
#
#   tests/interop/build.sh            builds what is missing or out of date
#   tests/interop/build.sh --check    only says whether there is anything to build, by its exit status
#   tests/interop/build.sh --with-agent
#                                     also Istio's own agent, which `./dev bench --vs-istio` compares Hawser with
#   tests/interop/build.sh --with-1.30
#                                     also the istiod of the 1.30 line, for test_join_1_30.py
#
# HAWSER_CACHE  cache folder, default <repository>/.cache
# GO            the go command, default the one in the repository's .venv
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$here/../.." && pwd)
cache=${HAWSER_CACHE:-$repo/.cache}/interop
bin=$cache/bin
log=$cache/build.log
go=${GO:-$repo/.venv/bin/go}
started=$SECONDS
child=
# A shell without job control starts its background jobs deaf to Ctrl-C.
trap '[[ -z $child ]] || kill "$child" 2>/dev/null || true' EXIT

say() { printf 'interop: [%4d s] %s\n' "$((SECONDS - started))" "$*"; }
die() {
  printf 'interop: error: %s\n' "$*" >&2
  exit 1
}

# What the binaries depend on: pins, flags (this file) and the compiler.
fingerprint() {
  {
    cat "$here"/{go.mod,go.sum,kube/go.mod,kube/go.sum,build.sh}
    "$go" version
  } | sha256sum
}

# The compiler says nothing for minutes: tell now and then that it is still at work.
with_progress() {
  local what=$1 next=$((SECONDS + 30))
  shift
  "$@" >>"$log" 2>&1 &
  child=$!
  while kill -0 "$child" 2>/dev/null; do
    sleep 0.5
    if ((SECONDS >= next)); then
      say "$what: still at work"
      next=$((SECONDS + 30))
    fi
  done
  local rc=0
  wait "$child" || rc=$?
  child=
  return "$rc"
}

# build NAME MODULE_DIR PACKAGE FLAGS...: the binary appears under its name only when it is whole.
build() {
  local name=$1 dir=$2 package=$3
  shift 3
  say "$name: building"
  with_progress "$name" env -C "$dir" "$go" build -trimpath -buildvcs=false "$@" -o "$bin/.$name.new" "$package" ||
    die "could not build $name: $(grep -v '^go: downloading' "$log" | tail -n 1) (all of it: $log)"
  mv "$bin/.$name.new" "$bin/$name"
}

[[ -x $go ]] || die "no Go compiler at $go; './dev build' sets up .venv"
export GOTOOLCHAIN=local GOFLAGS=-mod=readonly GOWORK=off CGO_ENABLED=0

want=$(fingerprint)
agent=
older=
[[ ${1:-} != --with-agent ]] || agent=1
[[ ${1:-} != --with-1.30 ]] || older=1
stamped() { [[ -f $cache/$1 && $(<"$cache/$1") == "$want" ]]; }
built() { stamped stamp && { [[ -z $agent ]] || stamped stamp-agent; } && { [[ -z $older ]] || stamped stamp-1.30; }; }
if [[ ${1:-} == --check ]]; then
  built || die "istiod, kube-apiserver and etcd aren't built, or other versions are: run tests/interop/build.sh"
  exit 0
fi

mkdir -p "$bin"
exec 9>"$cache/lock"
flock -w 1800 9 || die "another build has held $cache/lock for 30 minutes"

if built; then
  say "istiod, kube-apiserver and etcd${agent:+ and pilot-agent} are built already"
  exit 0
fi
: >"$log"

build_agent() {
  rm -f "$cache/stamp-agent"
  # Istio's own release flags for its agent.
  build pilot-agent "$here" istio.io/istio/pilot/cmd/pilot-agent -tags agent,disable_pgv -ldflags "-s -w"
  install -m 0644 "$(env -C "$here" "$go" list -m -f '{{.Dir}}' istio.io/istio)/tools/packaging/common/envoy_bootstrap.json" \
    "$cache/envoy_bootstrap.json"
  echo "$want" >"$cache/stamp-agent"
}

# build_istiod SUFFIX MODULE_DIR: with Istio's own release flags, vtprotobuf for its marshalling, no protoc-gen-validate
# code; and the API server's schemas for Istio's kinds, which come with Istio's module.
build_istiod() {
  local suffix=$1 dir=$2
  build "pilot-discovery$suffix" "$dir" istio.io/istio/pilot/cmd/pilot-discovery -tags vtprotobuf,disable_pgv -ldflags "-s -w"
  install -m 0644 "$(env -C "$dir" "$go" list -m -f '{{.Dir}}' istio.io/istio)/manifests/charts/base/files/crd-all.gen.yaml" \
    "$cache/crd-all$suffix.gen.yaml"
}

build_older() {
  rm -f "$cache/stamp-1.30"
  build_istiod -1.30 "$here/istio-1.30"
  echo "$want" >"$cache/stamp-1.30"
}

if stamped stamp; then
  [[ -z $agent ]] || build_agent
  [[ -z $older ]] || build_older
  exit 0
fi
rm -f "$cache/stamp"

say "building istiod, kube-apiserver and etcd: about 8 minutes on 2 cores, once"
build_istiod "" "$here"

kube=$(env -C "$here/kube" "$go" list -m -f '{{.Version}}' k8s.io/kubernetes)
IFS=. read -r major minor _ <<<"${kube#v}"
v=k8s.io/component-base/version
build kube-apiserver "$here/kube" k8s.io/kubernetes/cmd/kube-apiserver \
  -ldflags "-s -w -X $v.gitVersion=$kube -X $v.gitMajor=$major -X $v.gitMinor=$minor"

build etcd "$here/kube" go.etcd.io/etcd/server/v3 -ldflags "-s -w"

echo "$want" >"$cache/stamp"
[[ -z $agent ]] || build_agent
[[ -z $older ]] || build_older
say "done: $(du -ch "$bin"/* | tail -n 1 | cut -f1) in $bin"
