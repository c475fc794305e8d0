# The commands of this tree. `make` alone lists them.
#
# PRESET chooses the build (CMakePresets.json): release (default, what `make up` runs), dev, asan, tsan.
# PROFILE chooses what `make up` starts: small (one process and PostgreSQL) or cluster (gateways, routers, persister, Kafka, PostgreSQL).
PRESET ?= release
PROFILE ?= small
SEEDS ?= 2000
export PRESET PROFILE

.DEFAULT_GOAL := help
.PHONY: help setup build up down status logs clean-data test bench chaos simulate format tidy

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

setup: ## install the Debian packages that are missing (root or sudo)
	@tools/setup

build: setup ## build everything (PRESET=release)
	@tools/build

up: ## set up, build and start; returns when ready (PROFILE=small or cluster)
	@tools/up

down: ## stop what `make up` started; keeps the data
	@tools/down

status: ## what runs, where, and whether it is ready
	@tools/status

logs: ## follow the logs of everything that runs
	@tools/logs

clean-data: ## remove .parley/: all messages, accounts and logs (only when stopped)
	@tools/clean-data

test: build ## build and run every test
	@tools/test

bench: build ## measure; prints JSON and a table
	@bench/run

chaos: build ## load, faults and the checker against real processes
	@tests/chaos/run

simulate: build ## deterministic simulation over SEEDS seeds
	@build/$(PRESET)/bin/parley-simulate --seeds $(SEEDS)

format: ## clang-format every source file
	@git ls-files '*.cpp' '*.h' | xargs clang-format-19 -i

tidy: build ## clang-tidy every source file (slow)
	@tools/tidy
