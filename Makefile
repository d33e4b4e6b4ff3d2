# Needs Go and make; a C compiler makes the tests run with the race detector.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME := 20s
# Everything is compiled as the handler is (internal/local/stage.go), so that its
# libraries are compiled once for all and not again for each way of building.
export CGO_ENABLED := 0
export GOFLAGS := -trimpath $(GOFLAGS)

.PHONY: help demo test lint build run bench fuzz docs clean

help: ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

demo: build ## tell the whole story on this machine, without Azure
	@build/bin/demo

test: ## run every test
	@bash .ci/test.sh

lint: ## gofmt, go vet, staticcheck
	@unformatted=$$(gofmt -l cmd functions handler infra internal); test -z "$$unformatted" || { echo "gofmt would change: $$unformatted"; exit 1; }
	@go vet ./...
	@go run $(STATICCHECK) ./...
	@echo "lint: ok"

build: ## build the commands into build/bin and stage the app folder in build/app
	@go build -o build/bin/ ./cmd/...
	@build/bin/local --stage build/app

run: build ## run the local stack until Ctrl-C; ARGS="--arm-latency 3s" adds flags
	@build/bin/local $(ARGS)

bench: build ## print benchmarks as JSON lines; BENCH=burst runs one
	@build/bin/bench $(if $(BENCH),--only $(BENCH))

fuzz: ## run every fuzz target for FUZZTIME each
	@bash .ci/fuzz.sh $(FUZZTIME)

docs: ## regenerate docs/openapi.yaml
	@go test ./internal/app -run TestOpenAPIDocument -update

clean: ## remove what was built
	rm -rf build
