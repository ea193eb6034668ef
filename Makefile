# Generators and linters are Go modules pinned under tools/. Other needs are Go, git, bash and awk, and a C compiler for `race`.
# pipefail: a pipe fails when one of its steps fails.
SHELL       := bash
.SHELLFLAGS := -euo pipefail -c

BUF      := go tool -modfile=tools/generate.mod buf
LINT     := go tool -modfile=tools/lint.mod golangci-lint
FUZZTIME ?= 30s

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build one static binary, bin/bridge
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o bin/bridge ./cmd/bridge

.PHONY: man
man: ## Write the manual pages to bin/man
	go run ./tools/man bin/man

.PHONY: site
site: ## Generate the web site in bin/site/html
	.ci/site

.PHONY: archives
archives: ## Make a release's archives in bin: the source at HEAD, and the schemas for other languages
	mkdir -p bin
	git archive --format=tar.gz --prefix=bridge/ -o bin/bridge-source.tar.gz HEAD
	rm -rf bin/bridge-protos && mkdir bin/bridge-protos && cp LICENSE bin/bridge-protos
	go run ./cmd/bridge protos bin/bridge-protos/proto >/dev/null
	tar -czf bin/bridge-protos.tar.gz -C bin bridge-protos
	rm -rf bin/bridge-protos

.PHONY: generate
generate: ## Generate gen/ and the OpenAPI documents from proto/
	cd tools/protodeps && go run . ../../proto
	$(BUF) format -w proto
	rm -rf gen
	$(BUF) generate

.PHONY: connector
connector: ## Begin a connector: make connector NAME=acme EVENT=order.created
	go run ./tools/scaffold $(if $(EVENT),-event '$(EVENT)') '$(NAME)'
	@{ $(BUF) generate && go test './connectors/$(NAME)' -update && go test './connectors/$(NAME)'; } || { \
		echo 'To begin again, remove the new files:' >&2; \
		echo '	rm -rf connectors/$(NAME) proto/webhooks/$(NAME) gen/webhooks/$(NAME)' >&2; \
		echo '	git checkout cmd/bridge/plugins.go && $(MAKE) generate' >&2; \
		exit 1; }
	@echo 'It runs: go run ./cmd/bridge connectors describe $(NAME). CONTRIBUTING.md says how to go on.'

.PHONY: lint
lint: ## Lint Go and protobuf
	$(BUF) lint
	$(BUF) format --diff --exit-code proto
	$(BUF) breaking proto --against tools/baseline.binpb
	$(LINT) run ./...

.PHONY: rules
rules: ## Check and test the alert rules and the names of the metrics, as Prometheus sees them
	go build -modfile=tools/promtool.mod -tags remove_all_sd -o bin/promtool github.com/prometheus/prometheus/cmd/promtool
	bin/promtool check rules --lint=all --lint-fatal docs/prometheus/rules.yaml
	bin/promtool test rules docs/prometheus/rules_test.yaml docs/prometheus/secrets_test.yaml
	BRIDGE_TEST_PROMTOOL='$(CURDIR)/bin/promtool' go test ./cmd/bridge -count=1 -run '^TestMetrics|^TestRules'

.PHONY: test
test: ## Run the tests
	go test ./...

.PHONY: race
race: ## Run the tests with the race detector
	go test -race ./...

.PHONY: fuzz
fuzz: ## Fuzz each target for FUZZTIME
	@listed=$$(go test -list '^Fuzz' ./...) || { echo "$$listed" >&2; exit 1; }; \
	targets=$$(awk '/^Fuzz/ {f[n++]=$$1} /^ok/ {for (i=0;i<n;i++) print $$2, f[i]; n=0}' <<<"$$listed"); \
	[ -n "$$targets" ] || { echo 'there are no fuzz targets' >&2; exit 1; }; \
	while read -r pkg target; do \
		echo "$$pkg $$target"; \
		go test "$$pkg" -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) </dev/null; \
	done <<<"$$targets"

.PHONY: bench-postgres
bench-postgres: ## Measure the journal in PostgreSQL against the embedded one, in one run
	BRIDGE_TEST_POSTGRES=1 BRIDGE_TEST_POSTGRES_DIR=/tmp go test ./cmd/bridge -run '^$$' -bench '^BenchmarkJournals$$' -benchtime 1x -v

.PHONY: bench
bench: ## Measure, each figure against its reference in the same run
	go test ./internal/vendorjson ./internal/journal ./internal/ingress ./internal/dispatch ./internal/web ./sinks/grpcstream -run '^$$' -bench . -benchmem
	go test ./sinks/file ./sinks/kafka -run '^$$' -bench Drain -benchtime 20x # a million events; BRIDGE_TEST_KAFKA=1 adds a real Kafka
	go test ./cmd/bridge ./internal/daemon -run '^$$' -bench . -benchtime 1x -v

.PHONY: bench-postgres-sink
bench-postgres-sink: ## Measure the PostgreSQL sink against a bare COPY, and the whole path from the journal, in one run
	BRIDGE_TEST_POSTGRES=1 go test ./sinks/postgres -run '^$$' -bench . -benchtime 1x -v

.PHONY: bench-kafka-sink
bench-kafka-sink: ## Measure the Kafka sink against a bare kafka-go writer on a real Kafka, and the whole path from the journal, a million events each
	BRIDGE_TEST_KAFKA=1 go test ./sinks/kafka -run '^$$' -bench Drain/real -benchtime 20x
	BRIDGE_TEST_KAFKA=1 go test ./sinks/kafka -run '^$$' -bench Path -benchtime 3x

.PHONY: baseline
baseline: ## Accept today's schemas as the ones to stay compatible with; at a release only
	$(BUF) build proto -o tools/baseline.binpb
