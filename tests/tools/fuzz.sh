#!/usr/bin/env bash
# Runs one target of the fuzzer. What it learns is kept in fuzz/corpus, what breaks a property in fuzz/artifacts.
#
#   tests/tools/fuzz.sh TARGET SECONDS
set -euo pipefail
cd "$(dirname "$0")/../.."
target=$1
seconds=$2
cargo_fuzz=$(tests/tools/install.sh cargo-fuzz)
mkdir -p "fuzz/corpus/$target"
# There is no unsafe code, so a sanitizer would find nothing and take half of the runs. An input that takes ten seconds
# breaks a property, too.
RUSTUP_TOOLCHAIN=nightly exec "$cargo_fuzz" run --sanitizer none --target-dir fuzz/target "$target" \
  "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
  -max_total_time="$seconds" -max_len=65536 -timeout=10 -verbosity=0 -print_funcs=0 -print_final_stats=1
