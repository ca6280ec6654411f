# Builds, tests and runs the gateway. `make help` lists what can be asked.
#
#   spoa/**/*.c   -> build/libfoundry.a (all but main.o) -> build/foundry-spoa
#   tests/sim/    -> build/foundry-sim      tests/load/NAME.c -> build/NAME
#   tests/unit/   -> build/unit/test_*      tests/fuzz/ -> build/fuzz/fuzz_*
#
# SAN=address,undefined builds the same tree into build/san/. V=1 shows the
# commands. Everything made lives under build/.

SHELL := /bin/bash
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

CC ?= cc
ifeq ($(origin CC),default)
CC := gcc
endif
CLANG ?= clang
CLANG_FORMAT ?= clang-format
PKG_CONFIG ?= pkg-config
PREFIX ?= /usr/local
IMAGE ?= foundry-gateway
# For the makes that this one starts, unless it was given -j itself.
J = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))

ifeq ($(V),1)
Q :=
say = @:
else
Q := @
say = @printf '  %-6s %s\n'
endif

# ---- where things go ------------------------------------------------------
ifdef SAN
B := build/san
else
B := build
endif
O := $(B)/obj

# ---- flags ----------------------------------------------------------------
PACKAGES := libcjson hiredis libjwt libcrypto libssl libcurl libmicrohttpd

WARN := -Wall -Wextra -Wshadow -Wundef -Wmissing-prototypes \
	-Wstrict-prototypes -Wwrite-strings -Wcast-qual -Wpointer-arith \
	-Wformat=2 -Wvla
# GCC's sanitizers make it see null pointers that are not there.
ifndef SAN
WARN += -Wnull-dereference
endif
ifdef WERROR
WARN += -Werror
endif

CPPFLAGS_ALL := -Ispoa -D_GNU_SOURCE
CFLAGS_BASE := -std=gnu11 $(WARN)
ifdef SAN
CFLAGS_OPT := -O1 -g -fno-omit-frame-pointer -fsanitize=$(SAN) \
	-fno-sanitize-recover=all
LDFLAGS_OPT := -fsanitize=$(SAN)
else
CFLAGS_OPT := -O2 -g -D_FORTIFY_SOURCE=2
endif
CFLAGS_HARD := -fstack-protector-strong -fPIE
LDFLAGS_HARD := -pie -Wl,-z,relro,-z,now

# Asked once and only when something is compiled, so that `make help` and
# `make deps` work before the packages are installed.
pkg_cflags = $(eval pkg_cflags := $$(shell $(PKG_CONFIG) --cflags \
	$(PACKAGES)))$(pkg_cflags)
# hiredis_ssl has a .pc file on some distributions only; libev has none.
pkg_libs = $(eval pkg_libs := $$(shell $(PKG_CONFIG) --libs $(PACKAGES)) \
	$(if $(wildcard /usr/include/hiredis/hiredis_ssl.h),-lhiredis_ssl) \
	-lev -lm)$(pkg_libs)

COMPILE = $(CC) $(CFLAGS_BASE) $(CFLAGS_OPT) $(CFLAGS_HARD) $(CPPFLAGS_ALL) \
	$(pkg_cflags) $(CPPFLAGS) $(CFLAGS)
LINK = $(CC) $(CFLAGS_OPT) $(LDFLAGS_OPT) $(LDFLAGS_HARD) $(LDFLAGS)

# ---- sources --------------------------------------------------------------
SPOA_SRC := $(sort $(shell find spoa -name '*.c'))
SPOA_MAIN := $(filter spoa/main.c,$(SPOA_SRC))
LIB_OBJ := $(patsubst %.c,$(O)/%.o,$(filter-out spoa/main.c,$(SPOA_SRC)))
SIM_OBJ := $(patsubst %.c,$(O)/%.o,$(sort $(wildcard tests/sim/*.c)))
LOAD_BIN := $(patsubst tests/load/%.c,$(B)/%,$(wildcard tests/load/*.c))
SCRIPTS := $(wildcard spoa/store/scripts/*.lua)

UNIT_SRC := $(sort $(wildcard tests/unit/test_*.c))
UNIT_BIN := $(patsubst tests/unit/%.c,$(B)/unit/%,$(UNIT_SRC))
# Files in tests/unit/ that are no test by name are shared by all of them.
UNIT_HELP := $(patsubst %.c,$(O)/%.o,$(filter-out $(UNIT_SRC), \
	$(sort $(wildcard tests/unit/*.c))))
UNIT_LUA := $(sort $(wildcard tests/unit/test_*.lua))
UNIT_SH := $(sort $(wildcard tests/unit/test_*.sh))
TABLE_SRC := $(sort $(wildcard tests/tables/*.c))

PROGRAMS := $(if $(SPOA_MAIN),$(B)/foundry-spoa) \
	$(if $(SIM_OBJ),$(B)/foundry-sim) $(LOAD_BIN)

# ---- building -------------------------------------------------------------
.PHONY: all lib
all: $(PROGRAMS) ## build the agent, the simulator and the null agent
	@:
lib: $(B)/libfoundry.a

$(O)/%.o: %.c
	@mkdir -p $(@D)
	$(say) CC $<
	$(Q)$(COMPILE) -MMD -MP -c -o $@ $<

# The store embeds its scripts with .incbin, which no compiler reports as a
# dependency.
$(filter $(O)/spoa/store/%,$(LIB_OBJ)): $(SCRIPTS)

# Made anew each time: `ar r` alone keeps the objects of deleted sources.
$(B)/libfoundry.a: $(LIB_OBJ)
	$(say) AR $@
	$(Q)rm -f $@ && ar rcs $@ $^

$(B)/foundry-spoa: $(O)/spoa/main.o $(B)/libfoundry.a
	$(say) LINK $@
	$(Q)$(LINK) -o $@ $^ $(pkg_libs)

$(B)/foundry-sim: $(SIM_OBJ) $(B)/libfoundry.a
	$(say) LINK $@
	$(Q)$(LINK) -o $@ $^ $(pkg_libs)

$(LOAD_BIN): $(B)/%: $(O)/tests/load/%.o $(B)/libfoundry.a
	$(say) LINK $@
	$(Q)$(LINK) -o $@ $^ $(pkg_libs)

$(B)/unit/%: $(O)/tests/unit/%.o $(UNIT_HELP) $(B)/libfoundry.a
	@mkdir -p $(@D)
	$(say) LINK $@
	$(Q)$(LINK) -o $@ $^ -lcmocka $(pkg_libs)

$(B)/tables/%: $(O)/tests/tables/%.o $(B)/libfoundry.a
	@mkdir -p $(@D)
	$(say) LINK $@
	$(Q)$(LINK) -o $@ $^ $(pkg_libs)
.PRECIOUS: $(O)/%.o

# ---- tests ----------------------------------------------------------------
# Each part leaves its counts in build/results/PART; tests/summary adds them.
PARTS := build style unit san tables fuzz e2e image
RUN_TEST := tests/summary run
TOTAL := tests/summary total

.PHONY: test unit san tables fuzz e2e style
test: ## run everything CI runs, ends with "N passed, N failed"
	@tests/stack/deps.sh build run test
	@rm -rf build/results
	@for part in $(PARTS); do \
		printf '== %s\n' $$part; \
		$(MAKE) --no-print-directory $(J) part-$$part || \
		tests/summary broken $$part; \
	done
	@$(TOTAL)

.PHONY: $(PARTS:%=part-%)
part-build:
	$(Q)$(RUN_TEST) build all $(MAKE) --no-print-directory \
		$(J) WERROR=1 all
part-style:
	$(Q)$(RUN_TEST) style format tests/format.sh
	$(Q)$(RUN_TEST) style rules tests/style.sh
	$(Q)$(RUN_TEST) style lint tests/lint.sh
part-san:
	$(Q)$(MAKE) --no-print-directory SAN=address,undefined PART=san \
		part-unit
part-fuzz: run-fuzz
part-e2e: run-e2e
part-tables: run-tables
part-image:
	$(Q)$(RUN_TEST) image image tests/image/test.sh

# One test that does not compile must not hide the others.
PART ?= unit
part-unit:
	@$(MAKE) --no-print-directory -k $(UNIT_BIN) || \
		tests/summary broken $(PART)
	@$(foreach t,$(UNIT_BIN),$(RUN_TEST) $(PART) $(notdir $(t)) $(t);)
ifndef SAN
	@for lua in lua5.3 lua5.4; do \
		command -v $$lua >/dev/null || { \
		$(RUN_TEST) unit $$lua tests/summary skip \
			"$$lua is not installed"; continue; }; \
		for t in $(UNIT_LUA); do \
			$(RUN_TEST) unit $$lua-$$(basename $$t) $$lua $$t; \
		done; \
	done
	@for t in $(UNIT_SH); do \
		$(RUN_TEST) unit $$(basename $$t) bash $$t; done
endif

unit san tables e2e fuzz style:
	@rm -rf build/results/$@
	@$(MAKE) --no-print-directory $(J) part-$@
	@$(TOTAL) $@
unit: ## unit tests: C, Lua, shell
san: ## the C unit tests under SAN=address,undefined
tables: ## decision tables
style: ## formatting, static analysis, the rules a machine can check

TABLE_BIN := $(patsubst tests/tables/%.c,$(B)/tables/%,$(TABLE_SRC))
.PHONY: run-tables
run-tables: $(TABLE_BIN)
	@$(foreach t,$(TABLE_BIN),$(RUN_TEST) tables $(notdir $(t)) $(t);)

# ---- end to end -----------------------------------------------------------
build/venv/.ready: $(wildcard tests/e2e/requirements.txt)
	$(say) VENV build/venv
	$(Q)rm -rf build/venv && python3 -m venv build/venv
	$(Q)build/venv/bin/pip install -q \
		$(if $^,-r $<,pytest)
	$(Q)touch $@

.PHONY: run-e2e
e2e: ## end-to-end tests on every HAProxy that can be had
run-e2e: all build/venv/.ready
	@tests/e2e.sh

# ---- fuzzing --------------------------------------------------------------
FUZZ_SRC := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZ_BIN := $(patsubst tests/fuzz/%.c,build/fuzz/%,$(FUZZ_SRC))
FUZZ_LIB := $(patsubst %.c,build/fuzz/obj/%.o,$(filter-out spoa/main.c, \
	$(SPOA_SRC)))
FUZZ_CC = $(CLANG) -std=gnu11 -O1 -g -fno-omit-frame-pointer \
	-fno-sanitize-recover=all $(CPPFLAGS_ALL) $(pkg_cflags)

build/fuzz/obj/%.o: %.c
	@mkdir -p $(@D)
	$(say) FUZZCC $<
	$(Q)$(FUZZ_CC) -fsanitize=fuzzer-no-link,address,undefined \
		-MMD -MP -c -o $@ $<
$(filter build/fuzz/obj/spoa/store/%,$(FUZZ_LIB)): $(SCRIPTS)
build/fuzz/libfoundry.a: $(FUZZ_LIB)
	$(Q)rm -f $@ && ar rcs $@ $^
build/fuzz/fuzz_%: build/fuzz/obj/tests/fuzz/fuzz_%.o build/fuzz/libfoundry.a
	$(say) LINK $@
	$(Q)$(FUZZ_CC) -fsanitize=fuzzer,address,undefined -o $@ $^ \
		$(pkg_libs)
.PRECIOUS: build/fuzz/obj/%.o

.PHONY: run-fuzz
# bash sets SECONDS by itself, so only a value given to make counts.
FUZZ_TIME := $(if $(filter command line,$(origin SECONDS)),$(SECONDS),10)
fuzz: ## fuzz each target for SECONDS=10
run-fuzz: $(FUZZ_BIN)
	@for t in $(FUZZ_BIN); do \
		$(RUN_TEST) fuzz $$(basename $$t) \
			tests/fuzz.sh $$t $(FUZZ_TIME); done

# ---- running --------------------------------------------------------------
.PHONY: run up down token bench image image-test deps
run: ## build, start everything, send one request, stop everything
	@tests/stack/deps.sh build run
	@$(MAKE) --no-print-directory $(J) all
	@tests/stack/run.sh
up: ## the same stack left running (HTTPS 8443, HTTP 8080)
	@tests/stack/deps.sh build run
	@$(MAKE) --no-print-directory $(J) all
	@tests/stack/up.sh
down: ## stop what `make up` started
	@tests/stack/down.sh
token: ## print an access token; CLAIMS=json HEADER=json KEY=other
	@tests/stack/token.sh

bench: ## load test: plain HAProxy, null agent, gateway
	@tests/stack/deps.sh build run bench
	@$(MAKE) --no-print-directory $(J) all
	@tests/load/bench.sh
.PHONY: bench-limits
bench-limits: $(B)/limits ## whether limits hold under load, and their cost
	@tests/load/limits.sh
.PHONY: picture
picture: all build/venv/.ready ## draw the dashboard over a minute of traffic
	@build/venv/bin/python tests/picture/picture.py
image: ## build the container image
	docker build $(DOCKER_ARGS) -t $(IMAGE) .
image-test: ## build the image and serve a request through it
	@tests/image/test.sh

deps: ## install what is missing for building, running and testing
	@tests/stack/deps.sh build run test

# ---- housekeeping ---------------------------------------------------------
.PHONY: format format-check clean install help
C_FILES = $(shell find spoa tests -name '*.[ch]')
format: ## rewrite the C files as .clang-format says
	$(CLANG_FORMAT) -i $(C_FILES)
format-check: ## whether `make format` would change anything
	$(Q)CLANG_FORMAT=$(CLANG_FORMAT) tests/format.sh

SHARE = $(DESTDIR)$(PREFIX)/share/foundry-gateway
install: $(B)/foundry-spoa ## install below PREFIX=/usr/local (DESTDIR=)
	install -Dm755 $< $(DESTDIR)$(PREFIX)/bin/foundry-spoa
	install -d $(SHARE)/haproxy-conf $(SHARE)/lua
	install -m644 haproxy-conf/*.* $(SHARE)/haproxy-conf/
	install -m755 haproxy-conf/export-haproxy $(SHARE)/haproxy-conf/
	install -m644 lua/*.lua $(SHARE)/lua/
	ln -sf ../share/foundry-gateway/haproxy-conf/export-haproxy \
		$(DESTDIR)$(PREFIX)/bin/export-haproxy

# A running stack keeps its pid files in build/run/.
clean: ## remove everything that was built
	$(Q)tests/stack/down.sh -q
	rm -rf build

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | \
		sed -E 's/^([a-z0-9-]+):[^#]*## */\1\t/' | sort | \
		awk -F'\t' '{ printf "  make %-12s %s\n", $$1, $$2 }'

-include $(shell find $(O) build/fuzz/obj -name '*.d' 2>/dev/null)
