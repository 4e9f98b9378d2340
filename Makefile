# `make run` tries PureBoot out on this machine, `make test` checks it. CONTRIBUTING.md has the rest.
GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
# Of what is built, in seconds since 1970: no clock of an agent is behind it when it checks certificates.
BUILT   ?= $(shell git log -1 --format=%ct 2>/dev/null || echo $${SOURCE_DATE_EPOCH:-0})
LDFLAGS := -X main.version=$(VERSION) -X github.com/pureboot/pureboot/agent.built=$(BUILT)
OWN     := ./agent/... ./central/... ./ent/... ./tftp/... ./systemd/... ./cli/... ./durable/... ./packaging/... ./bench/...

export CGO_ENABLED = 0

.PHONY: help
help: ## List these targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

.PHONY: go
go:
	@command -v $(GO) >/dev/null || { echo "Go is missing: apt-get install golang (1.26 or later), or go.dev/dl"; exit 1; }

.PHONY: build
build: go ## Build the programs into bin/
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./agent/cmd/... ./central/cmd/... ./packaging/quickstart

.PHONY: run
run: build ## Run central and an agent on loopback, with something to boot; no root needed
	@exec bin/quickstart -dir var

.PHONY: test
test: go ## Run the tests; what needs root and firmware is in e2e
	$(GO) test $(OWN)

.PHONY: race
race: go ## Run the tests under the race detector
	@command -v gcc >/dev/null || { echo "The race detector needs a C compiler: apt-get install gcc libc6-dev"; exit 1; }
	CGO_ENABLED=1 GORACE=atexit_sleep_ms=10 $(GO) test -race $(OWN)

.PHONY: e2e
e2e: build ## Boot real firmware in QEMU against the real pair; needs root
	agent/e2e/packages.sh
	PUREBOOT_E2E=1 $(GO) test -count=1 -timeout 20m -v ./agent/e2e

.PHONY: crash
crash: go ## Kill the agent 100 times under load, at random moments
	PUREBOOT_TEST_CRASH_ROUNDS=100 $(GO) test -count=1 -timeout 20m -v -run TestKilledAtAnyMoment ./agent

.PHONY: lint
lint: go ## Check format, vet, staticcheck and that generated code is current
	$(GO) -C tools build -o ../bin/ honnef.co/go/tools/cmd/staticcheck mvdan.cc/gofumpt
	@unformatted=$$(git ls-files '*.go' | grep -v -E '^ent/' | xargs bin/gofumpt -l; git ls-files 'ent/schema/*.go' | xargs bin/gofumpt -l); \
		test -z "$$unformatted" || { echo "not formatted as gofumpt does:"; echo "$$unformatted"; exit 1; }
	$(GO) vet $(OWN)
	bin/staticcheck $(OWN)
	@changes=$$($(GO) fix -diff $(filter-out ./ent/...,$(OWN)) ./ent/schema); \
		test -z "$$changes" || { echo "go fix has changes:"; echo "$$changes"; exit 1; }
	@$(GO) mod tidy -diff >/dev/null || { echo "go.mod is not tidy: run go mod tidy"; exit 1; }

.PHONY: gen
gen: go ## Generate the code of ent/ from ent/schema; works offline
	$(GO) generate ./ent

.PHONY: migration
migration: go ## Write the SQL of a schema change for both databases: make migration NAME=add_something
	@test -n "$(NAME)" || { echo "make migration NAME=what_changes"; exit 1; }
	$(GO) run ./ent/migrate/diff $(NAME)

.PHONY: bench
bench: build ## Measure the agent beside nginx, Varnish and Squid; half an hour; writes bench/RESULTS.md
	$(GO) build -o bin/ ./bench
	bin/bench -out bench/RESULTS.md

.PHONY: bench-quick
bench-quick: build ## Check the agent's bytes and counts under the benchmark's load, within a minute
	$(GO) build -o bin/ ./bench
	bin/bench -quick

.PHONY: bench-central
bench-central: go ## Measure central with 100,000 nodes on SQLite and PostgreSQL; five minutes; writes bench/central/RESULTS.md
	$(GO) build -o bin/bench-central ./bench/central
	bin/bench-central -out bench/central/RESULTS.md

.PHONY: bench-go
bench-go: go ## Run the micro-benchmarks beside the code
	$(GO) test -run '^$$' -bench . -benchmem ./agent/... ./tftp/... ./central/...

.PHONY: clean
clean: ## Remove what was built and what `make run` keeps
	rm -rf bin var
