# What a newcomer needs: `make demo`, `make test`. Both set everything up by themselves; a second run is quick.

# One target directory outside the checkout: a fresh clone builds on what the last one built.
export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/leadline/target
LEADLINE := $(CARGO_TARGET_DIR)/debug/leadline

.PHONY: help setup build dev demo test fmt openapi bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install or check what leadline stands on: PostgreSQL, protoc, the pinned Temporal server
	@tools/setup.sh

build: setup ## Build the binary `leadline`
	@echo "build: cargo build (about 15 minutes the first time on 2 cores, seconds after that)"
	@cargo build --locked --package leadline-cli
	@echo "build: $(LEADLINE)"

dev: build ## Run everything on this machine until Ctrl-C
	@$(LEADLINE) dev

demo: build ## Show the main job end to end: connect, export, train, promote, predict, write back
	@$(LEADLINE) demo $(ARGS)

test: ## Run every check that CI runs; closes with minutes per phase
	@tools/test.sh

fmt: ## Format the code
	@cargo fmt --all

clean: ## Remove the state of `leadline dev` (not the build cache)
	rm -rf .leadline
