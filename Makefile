# Everything a person types here is a target with a ## line; `make help` lists them.
GO      ?= go
BIN     ?= ./causeway
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS  = -s -w -X github.com/causeway-mesh/causeway/node/cli.version=$(VERSION)
export CGO_ENABLED ?= 0
TOOLS    = $(GO) tool -modfile=deploy/tools/go.mod

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-10s %s\n", $$1, $$2}'

.PHONY: build
build: ## build the one binary
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) .

.PHONY: run
run: build ## build and start a whole mesh on this machine (causeway dev)
	$(BIN) dev

.PHONY: test
test: ## all tests, without -race (no C compiler needed)
	$(GO) test ./...
	cd bench/clients && $(GO) test ./...

.PHONY: race
race: ## all tests with the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race -short ./...

.PHONY: lint
lint: ## go vet, gofumpt, staticcheck
	$(GO) vet ./...
	@out=$$($(TOOLS) gofumpt -l $$(git ls-files '*.go')); [ -z "$$out" ] || { echo "not gofumpt-formatted:"; echo "$$out"; exit 1; }
	$(TOOLS) staticcheck ./...
	cd bench/clients && $(GO) vet ./...

.PHONY: fuzz
FUZZTIME ?= 10s
fuzz: ## every fuzz target for FUZZTIME (10s) each
	@for pkg in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
	    echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
	  done; done

.PHONY: golden
golden: ## rewrite the golden files from what the code does now; read the diff
	$(GO) test ./relay/dialect/registry ./coordinator/manifest ./node/cli ./node/obs -update

.PHONY: bench
bench: build ## interleaved comparison with the bare proxies, printed as ratios
	$(BIN) bench run

.PHONY: clients
clients: ## all client libraries against every dialect (CLI=1: the agents too); writes README's table
	cd bench/clients && $(GO) test -count=1 . && $(GO) run ./matrix -write
	$(if $(CLI),cd bench/clients && $(GO) run ./matrix -cli)

.PHONY: geodata
geodata: ## rebuild the embedded country database from Debian's tor-geoipdb
	sh geo/data/build.sh
