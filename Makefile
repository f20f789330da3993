# What a newcomer needs: `make demo`, `make test`. Both set everything up by themselves; a second run is quick.

# One target directory outside the checkout: a fresh clone builds on what the last one built.
export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/leadline/target
LEADLINE := ./bin/leadline

.PHONY: help setup build dev demo test chaos blue-green fmt openapi histories bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install or check what leadline stands on: PostgreSQL, protoc, the pinned Temporal server
	@tools/setup.sh

build: setup ## Build the binary and link it as ./bin/leadline
	@echo "build: cargo build (about 15 minutes the first time on 2 cores, seconds after that)"
	@cargo build --locked --package leadline-cli
	@mkdir -p bin && ln -sfn $(abspath $(CARGO_TARGET_DIR))/debug/leadline $(LEADLINE)
	@echo "build: $(LEADLINE)"

dev: build ## Run everything on this machine until Ctrl-C
	@$(LEADLINE) dev

demo: build ## Show the main job end to end: connect, export, train, promote, predict, write back
	@$(LEADLINE) demo $(ARGS)

test: ## Run every check that CI runs; closes with minutes per phase
	@tools/test.sh

chaos: export LEADLINE_BIN = $(abspath $(CARGO_TARGET_DIR))/debug/leadline
chaos: setup ## Kill parts of a stack at random while 1,000 sagas run on it: make chaos ARGS='--seed 2 --sagas 200'
	@cargo build --locked --workspace --bin leadline --bin chaos
	@$(abspath $(CARGO_TARGET_DIR))/debug/chaos $(ARGS)

blue-green: export LEADLINE_BIN = $(abspath $(CARGO_TARGET_DIR))/debug/leadline
blue-green: setup ## Deploy a build with another saga under load: make blue-green ARGS='--rate 5 --seconds 60'
	@cargo build --locked --workspace --bin leadline --bin blue-green
	@$(abspath $(CARGO_TARGET_DIR))/debug/blue-green $(ARGS)

fmt: ## Format the code
	@cargo fmt --all

openapi: ## Write proto/openapi.json anew, from the proto files
	@LEADLINE_UPDATE_OPENAPI=1 cargo test --locked --package leadline-proto --test openapi

histories: setup ## Record the golden histories anew, from runs on a real server
	@cargo test --quiet --locked --workspace -- --ignored --test-threads 1 recording::

bench: export LEADLINE_BIN = $(abspath $(CARGO_TARGET_DIR))/release/leadline
bench: setup ## Measure training, export, sagas, prediction and fairness in a release build; wants an otherwise idle machine
	@tests/tools/install.sh
	@cargo build --locked --release --workspace --bin leadline --bin training --bin export --bin sagas --bin fairness
	@cargo run --locked --release --workspace --bin training
	@cargo run --locked --release --workspace --bin export
	@cargo run --locked --release --workspace --bin sagas
	@cargo bench --locked --workspace --bench sync_predict
	@cargo run --locked --release --workspace --bin fairness

clean: ## Remove the state of `leadline dev` (not the build cache)
	rm -rf .leadline
