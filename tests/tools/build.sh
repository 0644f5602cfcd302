#!/usr/bin/env bash
# Builds the programs that the tests run against (Kubernetes, containerd, runc, Vault) and the benchmarks compare with
# (vault-k8s) from their Go modules, once per machine: the result is kept outside the checkout, named by everything that
# decides it.
#
#   tests/tools/build.sh [kubernetes|containerd|runc|vault|vault-k8s]...     prints the directory of each on stdout
set -euo pipefail
cd "$(dirname "$0")"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/alcove/tools

kubernetes_version=v1.37.2
component=k8s.io/component-base/version
kubernetes_flags=(-ldflags "-s -w -X $component.gitVersion=$kubernetes_version -X $component.gitMajor=1 -X $component.gitMinor=37 -X k8s.io/client-go/pkg/version.gitVersion=$kubernetes_version")
containerd_flags=(-tags "no_btrfs no_zfs no_devmapper" -ldflags "-s -w")
runc_flags=(-tags seccomp -ldflags "-s -w")
vault_flags=(-tags minimal -ldflags "-s -w")
vault_k8s_flags=(-ldflags "-s -w")

build() { # module
  local module=$1 cgo=0 key out began=$SECONDS
  local -n flags="${module//-/_}_flags"
  if [ "$module" = runc ]; then cgo=1; fi
  key=$(cat "$module/go.mod" "$module/go.sum" <(printf '%s\n' "${flags[@]}" "$(go env GOVERSION GOARCH)") | sha256sum | cut -c1-16)
  out=$cache/$module-$key
  if [ ! -e "$out/.complete" ]; then
    echo "  building $module from source (once per machine; its go.mod and go.sum decide) ..." >&2
    mkdir -p "$cache"
    # Two checkouts may build at the same time: the loser finds the winner's result.
    exec 9>"$cache/$module.lock"
    flock 9
    if [ ! -e "$out/.complete" ]; then
      rm -rf "$out"
      mkdir -p "$out"
      mapfile -t packages < <(cd "$module" && go list -mod=mod tool)
      (cd "$module" && CGO_ENABLED=$cgo go build -mod=mod -trimpath "${flags[@]}" -o "$out/" "${packages[@]}")
      touch "$out/.complete"
    fi
    exec 9>&-
    echo "  built $module in $((SECONDS - began)) s" >&2
  fi
  echo "$out"
}

if [ $# -eq 0 ]; then set -- runc containerd kubernetes vault; fi
for module in "$@"; do
  case $module in
    kubernetes | containerd | runc | vault | vault-k8s) build "$module" ;;
    *) echo "build.sh: unknown tool '$module'; known: kubernetes containerd runc vault vault-k8s" >&2; exit 2 ;;
  esac
done
