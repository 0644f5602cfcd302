#!/usr/bin/env bash
# Makes sure of what the targets of the Makefile need beyond Rust, Go, a C compiler and make: Debian packages (installed as
# root, otherwise listed), cargo-deny and, for fuzzing, cargo-fuzz and nightly Rust (once per machine). Does nothing, quickly,
# when all is there.
#
#   tests/tools/install.sh [packages] [cargo-deny] [cargo-fuzz]      the first two without an argument
set -euo pipefail
cargo_deny_version=0.20.2
cargo_fuzz_version=0.13.2
tools=${XDG_CACHE_HOME:-$HOME/.cache}/alcove/tools
packages=(etcd-server containernetworking-plugins busybox-static libseccomp-dev pkg-config iproute2 nftables util-linux openssh-client)

installed() { # package
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

install_packages() {
  local package missing=()
  if ! command -v dpkg-query >/dev/null; then
    echo "install.sh: not a Debian system; see that these are there: ${packages[*]}" >&2
    return
  fi
  for package in "${packages[@]}"; do
    installed "$package" || missing+=("$package")
  done
  if [ ${#missing[@]} -eq 0 ]; then return; fi
  if [ "$(id -u)" -ne 0 ]; then
    printf 'missing packages: %s\ninstall them with: sudo apt-get install --no-install-recommends %s\n' "${missing[*]}" "${missing[*]}" >&2
    exit 1
  fi
  echo "  installing ${missing[*]} ..." >&2
  # Packages must not start services: Debian's etcd would take the port of nobody, but stay.
  local policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq </dev/null >&2
  apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null >&2
}

# Builds a tool and prints where it is.
install_tool() { # name version
  local root=$tools/$1-$2
  if [ ! -x "$root/bin/$1" ]; then
    echo "  building $1 $2 (once per machine) ..." >&2
    CARGO_TARGET_DIR=$root/target cargo install --quiet --locked "$1@$2" --root "$root" </dev/null >&2
    rm -rf "$root/target"
  fi
  echo "$root/bin/$1"
}

install_nightly() {
  if rustup run nightly rustc --version >/dev/null 2>&1; then return; fi
  echo "  installing nightly Rust ..." >&2
  rustup toolchain install nightly --profile minimal >&2
}

if [ $# -eq 0 ]; then set -- packages cargo-deny; fi
for part in "$@"; do
  case $part in
    packages) install_packages ;;
    cargo-deny) install_tool cargo-deny "$cargo_deny_version" ;;
    cargo-fuzz) install_nightly; install_tool cargo-fuzz "$cargo_fuzz_version" ;;
    *) echo "install.sh: unknown part '$part'; known: packages cargo-deny cargo-fuzz" >&2; exit 2 ;;
  esac
done
