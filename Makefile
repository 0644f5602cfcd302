# Every target makes sure of what it needs, shows its stages with their times, and can be run again.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help check test fuzz demo cluster bench generate clean packages

# The store of the demo: kubernetes or vault.
STORE ?= kubernetes

# How long each target of the fuzzer runs.
SECONDS ?= 60

stage := @tests/tools/stage.sh
testkit := cargo run --quiet --locked --package alcove-tests --

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

check: ## Format, lints, dependencies, documentation, generated files: all that needs no node
	$(stage) 'format' cargo fmt --all --check
	$(stage) 'lints' cargo clippy --quiet --locked --workspace --all-targets -- -D warnings
	$(stage) 'dependencies' bash -c '"$$(tests/tools/install.sh cargo-deny)" --all-features --locked check bans licenses sources'
	$(stage) 'documentation' env RUSTDOCFLAGS='-D warnings' cargo doc --quiet --locked --workspace --no-deps --document-private-items
	$(stage) 'architecture' cargo test --quiet --locked --workspace --test suites -- architecture::
	$(stage) 'generated files' cargo test --quiet --locked --workspace --test suites -- generated_files

test: packages ## All tests, on a real node as root
	$(stage) 'tests' cargo test --locked --workspace --no-fail-fast

fuzz: fuzz-annotations fuzz-globs fuzz-resources fuzz-reviews ## Look for inputs that break a property, SECONDS=60 for each kind; needs nightly Rust

fuzz-%:
	$(stage) 'seeds' cargo run --quiet --locked --package alcove-properties -- fuzz/seeds
	$(stage) 'fuzz $*' tests/tools/fuzz.sh $* $(SECONDS)

demo: packages ## WordPress with a password that exists only in a store (STORE=kubernetes or vault)
	$(stage) 'demo' $(testkit) demo --store $(STORE)

cluster: packages ## A node to work with, left running; prints its KUBECONFIG
	$(stage) 'cluster' $(testkit) cluster --detach

bench: packages ## The benchmarks, as a table beside their targets
	$(stage) 'bench' cargo run --release --locked --package alcove-tests -- bench

generate: ## Write the files that come from the code: CRDs and docs/annotations.md
	$(stage) 'generate' $(testkit) generate

clean: ## End a node left running; remove its state and what cargo built
	$(stage) 'cluster stop' bash -c 'if [ -e "$${ALCOVE_STATE:-.state}/cluster.json" ]; then $(testkit) cluster stop; fi'
	$(stage) 'state' bash -c 'rm -rf "$${ALCOVE_STATE:-.state}"'
	$(stage) 'cargo clean' cargo clean --quiet
	$(stage) 'fuzz' rm -rf fuzz/target fuzz/seeds

packages:
	$(stage) 'packages' tests/tools/install.sh packages
