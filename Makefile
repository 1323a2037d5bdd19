# Catena. `make run` and `make test` do all their set-up themselves.
# Needs: Node.js >= 20.19, npm, make, and a C toolchain for the zookeeper package.

SHELL := /bin/bash
.DEFAULT_GOAL := help
ARGS ?=

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

.PHONY: run
run: build ## a chain of three in one process, and a REPL connected to it (no ZooKeeper)
	@node dist/src/cli/run.js $(ARGS)

.PHONY: test
test: lint ## every check and every test, real ZooKeeper and containers included
	@node dist/scripts/test.js

.PHONY: check
check: lint ## formatting, lint, types (the build), unit tests
	@node dist/scripts/test.js unit

.PHONY: lint
lint: build ## formatting, lint, types (the build)
	@npx biome format . --log-level=warn
	@npx oxlint --type-aware src test bench scripts

.PHONY: cluster
cluster: build ## real ZooKeeper and three server processes, until Ctrl-C
	@node dist/scripts/cluster.js $(ARGS)

.PHONY: demo
demo: build ## a scripted tour on real ZooKeeper: kill -9 of the head, reads, writes, restart, verify
	@node dist/scripts/demo.js

.PHONY: simulate
simulate: build ## whole clusters under one seed: SEED=1 SEEDS=1 TICKS=3000, TRACE=1 tells it in lines, SHRINK=1 finds a shorter failure
	@node dist/src/simulation/main.js $(if $(SEED),--seed $(SEED)) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(TICKS),--ticks $(TICKS)) \
	  $(if $(STRIKES),--strikes $(STRIKES)) $(if $(JOBS),--jobs $(JOBS)) $(if $(TRACE),--trace) $(if $(SHRINK),--shrink)

.PHONY: model
model: build ## the protocol model, searched by spin (needs the Debian package spin)
	@node dist/scripts/model.js $(ARGS)

.PHONY: fuzz
fuzz: build ## longer, coverage-guided fuzzing for MINUTES=5; grows test/fuzz/corpus
	@node dist/scripts/fuzz.js --minutes $(or $(MINUTES),5)

.PHONY: bench
bench: build ## throughput and latency of a chain of three, and of its parts
	@node dist/bench/chain.js $(ARGS)

.PHONY: bench-recovery
bench-recovery: build ## disk use and restart time after many puts (some minutes)
	@node dist/bench/recovery.js $(ARGS)

.PHONY: bench-join
bench-join: build ## what a joiner that is sent 1 GiB costs the chain's clients (some minutes)
	@node dist/bench/join.js $(ARGS)

.PHONY: torture
torture: build ## random faults on real processes for MINUTES=10, judged at the end; SEED=N repeats the faults
	@MINUTES=$(MINUTES) SEED=$(SEED) node dist/scripts/torture.js

.PHONY: format
format: node_modules/.package-lock.json ## formats everything
	@npx biome format --write .

.PHONY: build
build: node_modules/.package-lock.json ## installs what the lock file says and compiles
	@npx tsc -p .
	@chmod +x dist/src/cli/kv-server.js dist/src/cli/kv-client.js

.PHONY: clean
clean: ## removes what was built; data and node_modules stay
	rm -rf dist

node_modules/.package-lock.json: package.json package-lock.json
	npm ci --no-audit --no-fund --loglevel=error
	@touch $@
