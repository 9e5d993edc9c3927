# `make` or `make help` lists what there is.

SHELL := /bin/bash
GO ?= go
PREFIX ?= /usr/local
DESTDIR ?=
VERSION ?= 0.1.0-dev+$(shell git describe --always --dirty 2>/dev/null || echo unknown)
FUZZTIME ?= 20s
COUNT ?= 30

export CGO_ENABLED := 0

MODULE := github.com/bulkhead-engine/bulkhead
BUILD := $(GO) build -trimpath -ldflags "-s -w -X $(MODULE)/internal/runtime/command.Version=$(VERSION) -X $(MODULE)/internal/cli.Version=$(VERSION)"
TOOL := $(GO) tool -modfile=tools/go.mod
PROGRAMS := $(notdir $(wildcard cmd/*))
EMBEDDED := cmd/bulkhead-demo/embed/bulkhead-report
# What is not tested against a running container is a unit; test/* are suites of their own.
UNITS = $(shell $(GO) list ./... | grep -v -e '/test/' -e '/internal/archtest$$')
# Written by hand: neither testdata nor generated.
SOURCES = $$(git ls-files -c -o --exclude-standard '*.go' | grep -v -e /testdata/ -e '/z[^/]*[.]go$$')
# Suites share the machine's cgroups and mounts, so one runs after the other, and never from the cache.
SUITE := BULKHEAD_TEST_STRICT=1 $(GO) test -count=1 -p 1 -timeout 20m

.DEFAULT_GOAL := help
.PHONY: help build needs test check lint fmt unit arch test-conformance test-attack test-script test-spec test-lsm test-cgroup test-registry test-image test-engine test-network test-workload test-cli test-api test-readme test-vm vm vm-image bench-vm fuzz bench bench-image bench-engine bench-net run install clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: $(EMBEDDED) ## static programs into bin/
	@mkdir -p bin
	$(BUILD) -o bin/ ./cmd/...

# The demo carries the report program as its image. It is built, not committed; go build and go vet do without it.
$(EMBEDDED): $(wildcard cmd/bulkhead-report/*.go) go.mod
	$(BUILD) -o $@ ./cmd/bulkhead-report

run: build ## show a hardened container from inside (root: all limits; a user: rootless)
	bin/bulkhead-demo

needs: ## install what the tests need, on Debian, as root
	test/install

STAGES := needs lint arch unit test-script test-spec test-conformance test-attack test-lsm test-cgroup test-registry test-image test-engine test-network test-workload test-cli test-api test-readme test-vm

test: ## everything, as root; what CI runs: needs, lint, arch, unit and every test-*
	@set -e; for stage in $(STAGES); do \
		start=$$SECONDS; echo "=== $$stage" >&2; \
		$(MAKE) --no-print-directory $$stage; \
		echo "=== $$stage: $$((SECONDS - start)) s" >&2; \
	done

check: lint arch unit ## quick: no container is started as another user than you

lint: ## gofmt, vet, gofumpt, staticcheck
	@out=$$(gofmt -l $(SOURCES)); test -z "$$out" || { printf 'gofmt (make fmt):\n%s\n' "$$out"; exit 1; }
	$(GO) vet ./...
	GOARCH=arm64 $(GO) build ./internal/sandbox/forkexec ./internal/linux/sigpipe ./internal/engine/pid1 # their assembly
	@out=$$($(TOOL) gofumpt -l $(SOURCES)); test -z "$$out" || { printf 'gofumpt (make fmt):\n%s\n' "$$out"; exit 1; }
	$(TOOL) staticcheck ./...

fmt: ## format the sources
	$(TOOL) gofumpt -w $(SOURCES)

arch: ## hold the tree to ARCHITECTURE.md and the budgets
	$(GO) test -count=1 ./internal/archtest

unit: build ## tests of the packages
	BULKHEAD_TEST_STRICT=1 $(GO) test -timeout 15m $(UNITS)

test-script: build ## the command line, test/script/*.txtar
	$(SUITE) ./test/script/...

test-spec: build ## the runtime specification, field by field
	$(SUITE) ./test/spec/...

test-conformance: build ## against runc, crun, libseccomp, podman, containerd
	$(SUITE) ./test/conformance/...

test-attack: build ## hostile images, volumes and processes
	$(SUITE) ./test/attack/...

test-lsm: build ## Landlock here; AppArmor and SELinux where they are in force
	$(SUITE) ./test/lsm/...

test-image: build ## images: real registries, peers, pulls that are killed or run out of disk
	$(SUITE) ./test/image/...

test-engine: build ## containers of real images: their life, what is left of them
	$(SUITE) ./test/engine/...

test-network: build ## networks: whole engines in namespaces that stand for hosts, names, connections, what is left
	$(SUITE) ./test/network/...

test-workload: build ## nginx, Redis, PostgreSQL of Debian under the secure default, with real clients
	$(SUITE) ./test/workload/...

test-cgroup: build ## limits that are seen to bite
	$(SUITE) ./test/cgroup/...

test-cli: build ## the command bulkhead: a real registry, peers, terminals, signals
	$(SUITE) ./test/cli/...

test-api: build ## the Engine API with the real docker command, over a socket
	$(SUITE) ./test/api/...

test-registry: ## pull and push with real registries on loopback, skopeo as the peer
	$(SUITE) ./test/registry/...

LAB := $(GO) run ./test/vm/lab

test-vm: $(EMBEDDED) ## every suite in virtual machines: AppArmor, SELinux, cgroup v2, systemd, other kernels (V=1: all output; BOOT=apparmor: some)
	@test/install
	$(if $(BOOT),,$(SUITE) ./test/vm/...)
	$(LAB) matrix $(if $(V),-v) $(if $(BOOT),-only $(BOOT))

KERNEL ?= stable
LSM ?= none
INIT ?= small
AS ?= root

vm: $(EMBEDDED) ## one thing in a virtual machine: PKG=./internal/sandbox/cgroup [RUN=regexp], or CMD='aa-status'; KERNEL= LSM= INIT= AS=
	@$(LAB) run -kernel $(KERNEL) -lsm $(LSM) -init $(INIT) -as $(AS) $(if $(PKG),-pkg $(PKG)) $(if $(RUN),-run '$(RUN)') $(if $(CMD),-cmd '$(CMD)') $(if $(V),-v)

vm-image: ## build the disk and the kernels of the virtual machines anew, from the newest packages
	$(LAB) image -refresh

test-readme: build ## the quick start of README.md, as it stands there
	$(SUITE) ./test/readme/...

fuzz: ## every fuzz target for FUZZTIME (20s)
	@set -e; for file in $$(grep -rl --include='*_test.go' '^func Fuzz' internal); do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' $$file); do \
			echo "== $$(dirname $$file) $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) ./$$(dirname $$file); \
		done; \
	done

bench: build ## start, exec and remove containers, beside runc, crun and bubblewrap; COUNT=30 rounds
	$(GO) run ./bench -n $(COUNT)

bench-vm: $(EMBEDDED) ## the same in virtual machines, with cgroup v2 and AppArmor (COUNT=4 rounds)
	$(LAB) bench $(if $(filter file,$(origin COUNT)),,-n $(COUNT))

bench-image: build ## pull a gigabyte and a hundred layers, beside podman and skopeo (COUNT rounds)
	$(GO) run ./bench/images $(if $(filter file,$(origin COUNT)),,-n $(COUNT))

bench-engine: build ## run, exec and list containers, beside podman, docker and bare runc (COUNT rounds)
	$(GO) run ./bench/engine $(if $(filter file,$(origin COUNT)),,-n $(COUNT))

bench-net: build ## throughput and latency of networks and published ports, beside podman with netavark and a plain bridge (COUNT rounds)
	$(GO) run ./bench/net $(if $(filter file,$(origin COUNT)),,-n $(COUNT))

install: build ## programs into DESTDIR/PREFIX: bulkhead and bulkhead-runtime into bin, helpers into libexec/bulkhead, manual pages and completions into share
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/libexec/bulkhead
	install -m 0755 bin/bulkhead bin/bulkhead-runtime $(DESTDIR)$(PREFIX)/bin/
	@for p in $(filter-out bulkhead bulkhead-runtime bulkhead-demo,$(PROGRAMS)); do \
		echo install $$p; install -m 0755 bin/$$p $(DESTDIR)$(PREFIX)/libexec/bulkhead/; \
	done
	install -d $(addprefix $(DESTDIR)$(PREFIX)/share/,man/man1 bash-completion/completions zsh/site-functions fish/vendor_completions.d)
	bin/bulkhead __man $(DESTDIR)$(PREFIX)/share/man/man1
	bin/bulkhead completion bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/bulkhead
	bin/bulkhead completion zsh >$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_bulkhead
	bin/bulkhead completion fish >$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/bulkhead.fish

clean: ## remove what was built
	rm -rf bin build $(EMBEDDED)
