# SPDX-License-Identifier: MIT
#
# decant: one file onto every connection that a supervisor hands over. `make help` lists the targets.

version = 0.1

PREFIX ?= /usr/local
DESTDIR ?=
SBINDIR ?= $(PREFIX)/sbin
MANDIR ?= $(PREFIX)/share/man
DOCDIR ?= $(PREFIX)/share/doc/decant
UNITDIR ?= $(or $(shell $(PKG_CONFIG) --variable=systemdsystemunitdir systemd 2>/dev/null),/usr/lib/systemd/system)

SYSTEMD ?= yes
SECCOMP ?= yes
STATIC ?= no
WERROR ?= $(if $(filter true,$(CI)),yes,no)
BUILD ?= build
FILE ?= README.md
PORT ?= 7070

PKG_CONFIG ?= pkg-config
BUILD_CC ?= cc
CFLAGS ?= -O2 -g
JOBS ?= $(shell nproc)

# Quiet lines; V=1 shows the commands.
Q = $(if $(V),,@)
say = $(if $(V),,@printf '  %-8s %s\n' $(1) $(2))

sources = crowd.c handover.c main.c notify.c options.c peer.c problem.c report.c resident.c sandbox.c signals.c single.c \
	source.c store.c table.c transfer.c
unit_tests = crowd handover notify options peer report resident sandbox sandbox-filter sandbox-none signals single source \
	store table transfer
black_box_tools = $(patsubst tests/black-box/%.c,%,$(wildcard tests/black-box/*.c))
unpacked = openbsd-inetd inetutils-inetd

ifeq ($(SYSTEMD),yes)
sources += systemd.c
systemd_cflags := $(shell $(PKG_CONFIG) --cflags libsystemd 2>/dev/null)
systemd_libs := $(or $(shell $(PKG_CONFIG) --libs libsystemd 2>/dev/null),-lsystemd)
with_systemd = 1
else
with_systemd = 0
endif
with_seccomp = $(if $(filter no,$(SECCOMP)),0,1)

# --- Flags -----------------------------------------------------------------------------------------
# After the OpenSSF compiler hardening guide. Each is tried, so that gcc, clang, musl-gcc and old ones
# build with what they have. The answers are kept until the compiler or the kind of build changes.

comma := ,
hash := \#
language = -std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DDECANT_VERSION='"$(version)"'

warnings = -Wall -Wextra -Wformat=2 -Wformat-signedness -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wvla -Wundef -Wcast-qual -Wwrite-strings -Wpointer-arith -Wimplicit-fallthrough -Wtrampolines \
	-Wduplicated-cond -Wlogical-op -Wnull-dereference -Wdate-time \
	-Werror=implicit-function-declaration -Werror=incompatible-pointer-types -Werror=int-conversion
hardening = -fstack-protector-strong -fstack-clash-protection -fcf-protection=full \
	-mbranch-protection=standard -fno-strict-overflow -fno-strict-aliasing \
	-fno-delete-null-pointer-checks -ftrivial-auto-var-init=zero -fPIE
hardening_link = -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,-z,nodlopen -Wl,--as-needed \
	-Wl,--no-copy-dt-needed-entries
# One object without the mark takes it from the whole program, and Debian's start files for C have none.
# Ours are all fit for it: tests/house/hardening.bats looks at each function. A static program has no loader
# that would read it, and musl knows of no such mark.
hardening_link += $(if $(filter yes,$(STATIC)),,-Wl,-z,ibt -Wl,-z,shstk)
kind_link = $(if $(filter yes,$(STATIC)),-static-pie $(rcrt1:%='$(static_pie) %') -static,-pie)

# musl-gcc takes -static-pie, and makes a dynamic program of it. The start of a static one that can be loaded
# anywhere lies where it has the start of dynamic ones; -static alone is for where there is none.
static_pie = -static -nostartfiles -Wl,-pie,--no-dynamic-linker,-z,text
rcrt1 = $(shell $(CC) '-$(hash)$(hash)$(hash)' -x c /dev/null 2>&1 | sed -n 's|.*[ "]\([^ "]*/\)Scrt1\.o.*|\1rcrt1.o|p')

# Which of the flags $(1) compile, link and run, beside $(2)? -Werror, since clang only warns of what it
# does not know. $(3) is a further test of build/probe; with $(4) = break the first that passes will do.
tries = for flag in $(1); do if printf 'int main(void) { return 0; }\n' | \
	$(CC) -Werror $$flag $(2) -x c -o $(BUILD)/probe - 2>/dev/null && $(BUILD)/probe $(3); \
	then printf '%s ' "$$flag"; $(4) fi; done; rm -f $(BUILD)/probe

is_static = && ! readelf --program-headers $(BUILD)/probe | grep -q INTERP

probed := $(BUILD)/flags-$(shell printf '%s' '$(CC) $(CFLAGS) $(LDFLAGS) $(STATIC)' | cksum | cut -d' ' -f1).mk
ifeq ($(filter help clean format,$(MAKECMDGOALS)),)
-include $(probed)
endif

# What libseccomp calls the machine that is built for. Of any other one its own name is tried.
architecture_of = { $(CC) $(CFLAGS) -dM -E -x c /dev/null | sed -n -e 's/.*define __x86_64__ 1/x86_64/p' \
	-e 's/.*define __i386__ 1/x86/p' -e 's/.*define __aarch64__ 1/aarch64/p' -e 's/.*define __arm__ 1/arm/p' \
	-e 's/.*define __s390x__ 1/s390x/p'; uname -m; } | head -n 1

$(probed): Makefile
	@mkdir -p $(BUILD)
	@{ printf 'flags_ok := '; $(call tries,$(warnings) $(hardening),,,); \
	printf '\nlink_ok := '; $(call tries,$(hardening_link),-Wl$(comma)--fatal-warnings,,); \
	printf '\nkind_ok := '; $(call tries,$(kind_link),-fPIE,$(if $(filter yes,$(STATIC)),$(is_static)),break;); \
	printf '\narchitecture := '; $(architecture_of); \
	printf '\nfortify := '; $(call tries,-D_FORTIFY_SOURCE=3 -D_FORTIFY_SOURCE=2,-O2,,break;); \
	printf '\nmap := '; $(call tries,-ffile-prefix-map=/a=/a,,,); \
	printf '\n'; } >$@.new && mv $@.new $@

# FORTIFY needs an optimising build, and turns poll into __poll_chk: not for the unit tests.
fortify_ok = $(if $(filter -O -O1 -O2 -O3 -Os,$(CFLAGS)),-U_FORTIFY_SOURCE $(fortify))
common_flags = $(language) $(flags_ok) $(if $(filter yes,$(WERROR)),-Werror) $(CFLAGS) $(CPPFLAGS)
with = -DWITH_SYSTEMD=$(with_systemd) -DWITH_SECCOMP=$(with_seccomp) -I$(BUILD)/generated
program_flags = $(common_flags) $(fortify_ok) $(with) $(systemd_cflags)
program_link = $(kind_ok) $(link_ok) $(LDFLAGS)
asan_flags = $(language) -Wall -Wextra -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined \
	-fno-sanitize-recover=undefined -DUSUAL_SANDBOX=SANDBOX_OFF $(with) $(systemd_cflags)
unit_flags = $(language) -Wall -Wextra -O1 -g -U_FORTIFY_SOURCE -DWITH_SYSTEMD=1 -DWITH_SECCOMP=1 -Isrc -Itests/unit \
	-I$(BUILD)/generated $(UNIT_CFLAGS)

# No path of the machine that builds is in the program: two builds are the same, wherever they are made.
flags_ok += $(foreach place,$(CURDIR)=. $(abspath $(BUILD))=build $(BUILD)=build,$(patsubst %/a=/a,%$(place),$(map)))

# --- Program ---------------------------------------------------------------------------------------

.DEFAULT_GOAL := all
.PHONY: all run run-resident check check-unit check-black-box check-attack calls check-launchers check-house check-system shell-systemd \
	demo-kill launchers asan lint format install uninstall clean help tests FORCE
.DELETE_ON_ERROR:
.SECONDARY:

all: $(BUILD)/decant ## build build/decant

# Objects are made anew when the flags change: `make SYSTEMD=no` after `make` must not mix the two.
$(BUILD)/obj/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(CC) $(program_flags) $(program_link))' | cmp -s - $@ || \
		printf '%s\n' '$(subst ','\'',$(CC) $(program_flags) $(program_link))' >$@

# The system calls that are left to decant, as instructions: libseccomp is only used while it is built.
$(BUILD)/sandbox-filter: src/sandbox-filter.c src/sandbox.h
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(BUILD_CC) $(language) -Wall -Wextra -Wno-missing-field-initializers -O1 -o $@ $< -lseccomp || { echo "$@ needs libseccomp \
	(package libseccomp-dev); without it: make SECCOMP=no" >&2; exit 1; }

$(BUILD)/generated/sandbox-filters.h: $(BUILD)/sandbox-filter $(probed)
	@mkdir -p $(@D)
	$(Q)$(BUILD)/sandbox-filter c $(architecture) >$@

ifneq ($(SECCOMP),no)
$(BUILD)/obj/sandbox.o $(BUILD)/asan/sandbox.o: $(BUILD)/generated/sandbox-filters.h
endif
$(BUILD)/tests/unit/sandbox.o $(BUILD)/tests/unit/test-sandbox.o \
	$(BUILD)/tests/unit/test-sandbox-filter.o: $(BUILD)/generated/sandbox-filters.h

$(BUILD)/obj/%.o: src/%.c $(BUILD)/obj/flags
	$(call say,CC,$<)
	$(Q)$(CC) $(program_flags) -MMD -MP -c -o $@ $<

$(BUILD)/decant: $(sources:%.c=$(BUILD)/obj/%.o)
	$(call say,LD,$@)
	$(Q)$(CC) $(program_flags) $(program_link) -o $@ $^ $(systemd_libs)

$(BUILD)/asan/decant: $(sources:%.c=$(BUILD)/asan/%.o)
	$(call say,LD,$@)
	$(Q)$(CC) $(asan_flags) -o $@ $^ $(systemd_libs)

$(BUILD)/asan/%.o: src/%.c Makefile
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(asan_flags) -MMD -MP -c -o $@ $<

define serve
	@command -v systemd-socket-activate >/dev/null || \
		{ echo "make $@ needs systemd-socket-activate (package systemd)" >&2; exit 1; }
	@test -f "$(FILE)" && test -r "$(FILE)" || \
		{ echo "make $@: '$(FILE)' is no readable file; try: make $@ FILE=/path/to/file" >&2; exit 1; }
	@echo "decant sends $(FILE) to every client of 127.0.0.1:$(PORT); Ctrl-C ends it. To fetch it:"
	@echo
	@echo "    socat -u TCP:127.0.0.1:$(PORT) CREATE:/tmp/$(notdir $(FILE)).copy"
	@echo
	@exec systemd-socket-activate $(accept) -l 127.0.0.1:$(PORT) $(BUILD)/decant "$(FILE)"
endef

run: accept = --accept
run: all ## serve FILE (README.md) on PORT (7070) of 127.0.0.1, in the foreground
	$(serve)

run-resident: all ## the same, with one process for all clients
	$(serve)

# --- Tests -----------------------------------------------------------------------------------------

tools = $(black_box_tools:%=$(BUILD)/tests/%)
units = $(unit_tests:%=$(BUILD)/tests/unit/test-%)
prove = prove --jobs $(JOBS) --timer --exec tests/run

tests: all $(tools) $(BUILD)/tests/keep $(BUILD)/tests/syslog $(units) $(BUILD)/asan/decant $(BUILD)/attack/decant

check: tests launchers ## run all tests (tests/*/ say what each tier needs)
	$(prove) $(units) tests/system tests/launchers tests/attack tests/black-box tests/house --ext .bats
	DECANT=$(abspath $(BUILD)/asan/decant) $(prove) tests/black-box/*.bats

check-unit: $(units) ## run the unit tests
	$(prove) $(units)

check-black-box: all $(tools) ## run the black-box tests
	$(prove) tests/black-box/*.bats

check-attack: tests ## run the tests of the sandbox, with a decant that is taken over
	$(prove) tests/attack/*.bats

calls: tests ## which system calls the black-box tests make in the sandbox, and which test the rare ones
	rm -rf $(BUILD)/calls && mkdir -p $(BUILD)/calls
	-DECANT_TRACE=$(abspath $(BUILD)/calls) $(prove) tests/black-box/*.bats
	tests/attack/calls table $(BUILD)/calls

check-launchers: all $(tools) launchers ## run the tests with the real inetds, xinetd, tcpserver and their kin
	$(prove) tests/launchers/*.bats

check-system: all $(tools) $(BUILD)/tests/keep $(BUILD)/attack/decant ## run the tests with Debian 12's and Debian 13's systemd, as root
	$(prove) tests/system/*.bats

shell-systemd: all ## boot systemd VERSION (252 or 257) with decant installed, and give a shell in it, as root
	tests/system/root shell $(or $(VERSION),257)

demo-kill: all ## kill decant ten times in a download, with systemd VERSION (257 or 252), as root
	tests/system/demo-kill $(or $(VERSION),257)

check-house: tests ## run the tests of the build, the install and the documents
	$(prove) tests/house/*.bats

asan: $(BUILD)/asan/decant $(tools) ## run the black-box tests on a build with ASan and UBSan
	DECANT=$(abspath $(BUILD)/asan/decant) $(prove) tests/black-box/*.bats

$(BUILD)/tests/%: tests/black-box/%.c
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(language) -Wall -Wextra -O2 -g -MMD -MP -o $@ $<

$(BUILD)/tests/%: tests/launchers/%.c
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(language) -Wall -Wextra -O2 -g -MMD -MP -o $@ $<

$(BUILD)/tests/%: tests/system/%.c
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(language) -Wall -Wextra -O2 -g -MMD -MP -o $@ $<

# Built as the program is: its flags are tried on what they are there for.
$(BUILD)/tests/probe: tests/house/probe.c $(BUILD)/obj/flags
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(program_flags) $(program_link) -o $@ $<

# The program's own objects, and around two of their functions what attacks from inside.
attack_objects = $(sources:%.c=$(BUILD)/obj/%.o) $(BUILD)/attack/attack.o
$(BUILD)/attack/decant: $(attack_objects) $(BUILD)/obj/flags
	$(call say,LD,$@)
	$(Q)$(CC) $(program_flags) $(program_link) -Wl,--wrap=sandbox_enter,--wrap=transfer_start -o $@ $(attack_objects) $(systemd_libs)

$(BUILD)/attack/attack.o: tests/attack/attack.c $(BUILD)/obj/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(language) -Wall -Wextra -O2 -g -fPIE -Isrc -MMD -MP -c -o $@ $<

# Packages that exclude one another. Where one cannot be had, its tests say so themselves.
launchers: $(BUILD)/tests/syslog $(BUILD)/attack/decant
	-$(Q)for package in $(unpacked); do tests/launchers/fetch $$package $(BUILD)/launchers/$$package; done

unit_objects = $(filter-out main.o systemd.o,$(sources:%.c=%.o)) systemd.o kernel.o
wraps = $(addprefix -Wl$(comma)--wrap=,$(shell cat $(1) 2>/dev/null))

$(BUILD)/tests/unit/%.o: src/%.c Makefile
	@mkdir -p $(@D)
	$(Q)$(CC) $(unit_flags) -MMD -MP -c -o $@ $<

$(BUILD)/tests/unit/%.o: tests/unit/%.c Makefile
	@mkdir -p $(@D)
	$(Q)$(CC) $(unit_flags) -MMD -MP -c -o $@ $<

$(BUILD)/tests/unit/test-%: $(BUILD)/tests/unit/test-%.o $(unit_objects:%=$(BUILD)/tests/unit/%) Makefile tests/unit/*.wraps
	$(call say,LD,$@)
	$(Q)$(CC) $(unit_flags) $(call wraps,tests/unit/test-$*.wraps) -o $@ $(filter %.o,$^) -lcmocka

# --- Bench -----------------------------------------------------------------------------------------

.PHONY: bench bench-start bench-activation check-bench

bench: all $(BUILD)/tests/load ## measure resident decant side by side with nginx, in under 5 minutes
	BUILD=$(BUILD) tests/bench/bench

bench-start: all $(BUILD)/tests/start ## measure what the sandbox adds to the start of a process
	BUILD=$(abspath $(BUILD)) tests/bench/starts

bench-activation: all $(BUILD)/tests/load ## measure what the protection of decant@.service costs, as root
	BUILD=$(BUILD) tests/bench/activation

check: check-bench

check-bench: all $(tools) $(BUILD)/tests/load ## run the tests of what the bench and other tests load with
	$(prove) tests/bench/*.bats

# Tests use it too, where one client is not enough.
tests check-black-box check-launchers check-system asan: $(BUILD)/tests/load

$(BUILD)/tests/start: tests/bench/start.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(language) -Wall -Wextra -O2 -g -MMD -MP -o $@ $<

$(BUILD)/tests/load: tests/bench/load.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(language) -Wall -Wextra -O2 -g -MMD -MP -o $@ $< -lm

# --- Fuzz ------------------------------------------------------------------------------------------
# libFuzzer, which comes with clang (Debian: clang and libclang-rt-dev), on the objects of src/ and with both sanitizers.
# What a run finds, and what it learns, stays in $(BUILD)/fuzz: tests/fuzz/corpus is only where it begins.

.PHONY: fuzz check-fuzz fuzzers fuzzers-tried

FUZZ_CC ?= clang
FUZZ_TIME ?= 60
TIME ?= 900
fuzz_tests = options handover store loop
fuzz_flags = $(language) -Wall -Wextra -Wno-unknown-warning-option -O1 -g -fno-omit-frame-pointer -U_FORTIFY_SOURCE \
	-fno-sanitize-recover=all $(with) $(systemd_cflags) -Isrc
fuzz_objects = $(sources:%.c=%.o)
# What the targets stand in for, in all objects alike.
fuzz_wraps = $(addprefix -Wl$(comma)--wrap=,$(shell cat tests/fuzz/wraps))

fuzz: fuzzers ## fuzz each of options, handover, store and loop for TIME (900) seconds, two at a time
	FUZZERS=$(abspath $(BUILD)/fuzz) FUZZ_TIME=$(TIME) prove --jobs 2 --timer --exec tests/run tests/fuzz/*.bats

check: check-fuzz

check-fuzz: fuzzers ## the same for FUZZ_TIME (60) seconds, and the tests of what is found
	FUZZERS=$(abspath $(BUILD)/fuzz) FUZZ_TIME=$(FUZZ_TIME) $(prove) tests/fuzz/*.bats

# Without a fuzzer on this machine the tests are skipped, and say what is missing.
fuzzers: all
	@mkdir -p $(BUILD)/fuzz
	@if printf 'int LLVMFuzzerTestOneInput(const char *data, long size) { return data && size < 0; }\n' | \
		$(FUZZ_CC) -fsanitize=fuzzer,address,undefined -x c -o $(BUILD)/fuzz/probe - 2>$(BUILD)/fuzz/missing; \
		then rm -f $(BUILD)/fuzz/probe $(BUILD)/fuzz/missing && $(MAKE) --no-print-directory fuzzers-tried; fi

fuzzers-tried: $(fuzz_tests:%=$(BUILD)/fuzz/%)

$(BUILD)/fuzz/%.o: src/%.c Makefile
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(FUZZ_CC) $(fuzz_flags) -fsanitize=fuzzer-no-link,address,undefined -MMD -MP -c -o $@ $<

ifneq ($(SECCOMP),no)
$(BUILD)/fuzz/sandbox.o: $(BUILD)/generated/sandbox-filters.h
endif

# The whole program, to be called as often as one likes.
$(BUILD)/fuzz/main.o: fuzz_flags += -Dmain=decant_main

$(BUILD)/fuzz/tests/%.o: tests/fuzz/%.c Makefile
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(FUZZ_CC) $(fuzz_flags) -fsanitize=address,undefined -MMD -MP -c -o $@ $<

$(BUILD)/fuzz/%: $(BUILD)/fuzz/tests/%.o $(BUILD)/fuzz/tests/world.o $(fuzz_objects:%=$(BUILD)/fuzz/%) tests/fuzz/wraps
	$(call say,LD,$@)
	$(Q)$(FUZZ_CC) $(fuzz_flags) -fsanitize=fuzzer,address,undefined $(fuzz_wraps) -o $@ $(filter %.o,$^) $(systemd_libs)

-include $(wildcard $(BUILD)/fuzz/*.d $(BUILD)/fuzz/tests/*.d)

# --- House -----------------------------------------------------------------------------------------

c_files = $(wildcard src/*.[ch] tests/*/*.[ch])
shell_files = $(wildcard .ci/run tests/run tests/house/verify-* tests/system/root \
	tests/system/demo-kill tests/attack/calls tests/launchers/fetch tests/launchers/world tests/bench/bench tests/bench/starts \
	tests/bench/activation tests/*/*.bash tests/*/*.bats)

lint: all ## clang-format, clang-tidy, cppcheck, shellcheck, mandoc, systemd-analyze verify
	clang-format --dry-run -Werror $(c_files)
	clang-tidy --quiet $(addprefix src/,$(sources)) -- $(language) -DWITH_SYSTEMD=$(with_systemd)
	cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,performance,portability \
		--inline-suppr --suppress=missingIncludeSystem -D_GNU_SOURCE -DWITH_SYSTEMD=$(with_systemd) \
		-DDECANT_VERSION='"$(version)"' src
	shellcheck $(shell_files)
	tests/house/verify-manual
	tests/house/verify-units

format: ## lay out the C files as .clang-format says
	clang-format -i $(c_files)

substitute = sed -e 's|@sbindir@|$(SBINDIR)|g' -e 's|@version@|$(version)|g'

drop_ins = hardened.conf private-file.conf private-file-252.conf

install: all ## install into PREFIX (/usr/local), below DESTDIR
	install -d $(DESTDIR)$(SBINDIR) $(DESTDIR)$(MANDIR)/man8 $(DESTDIR)$(DOCDIR)
	install -m 755 $(BUILD)/decant $(DESTDIR)$(SBINDIR)/decant
	install -m 644 src/decant.8 $(DESTDIR)$(MANDIR)/man8/decant.8
	install -m 644 README.md LICENSE $(DESTDIR)$(DOCDIR)
	$(substitute) units/decant.xinetd >$(DESTDIR)$(DOCDIR)/decant.xinetd
	$(substitute) units/decantd.xinetd >$(DESTDIR)$(DOCDIR)/decantd.xinetd
	$(substitute) units/decant.inetd >$(DESTDIR)$(DOCDIR)/decant.inetd
ifeq ($(SYSTEMD),yes)
	install -d $(DESTDIR)$(UNITDIR)
	$(substitute) units/decant.socket >$(DESTDIR)$(UNITDIR)/decant.socket
	$(substitute) units/decant@.service >$(DESTDIR)$(UNITDIR)/decant@.service
	$(substitute) units/decantd@.socket >$(DESTDIR)$(UNITDIR)/decantd@.socket
	$(substitute) units/decantd@.service >$(DESTDIR)$(UNITDIR)/decantd@.service
	for drop_in in $(drop_ins); do $(substitute) units/$$drop_in >$(DESTDIR)$(DOCDIR)/$$drop_in || exit; done
	chmod 644 $(addprefix $(DESTDIR)$(DOCDIR)/,$(drop_ins))
	chmod 644 $(addprefix $(DESTDIR)$(UNITDIR)/,decant.socket decant@.service decantd@.socket decantd@.service)
	install -m 644 units/decant-failed.service units/decant-failure.service $(DESTDIR)$(UNITDIR)
endif
	chmod 644 $(addprefix $(DESTDIR)$(DOCDIR)/,decant.xinetd decantd.xinetd decant.inetd)

uninstall: ## remove what install has put there
	rm -f $(DESTDIR)$(SBINDIR)/decant $(DESTDIR)$(MANDIR)/man8/decant.8
	rm -f $(addprefix $(DESTDIR)$(UNITDIR)/,decant.socket decant@.service decantd@.socket decantd@.service \
		decant-failed.service decant-failure.service)
	rm -rf $(DESTDIR)$(DOCDIR)

clean: ## remove the build
	rm -rf $(BUILD)

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | while IFS="$$(printf '\t')" read -r name text; \
		do printf '  %-16s %s\n' "$$name" "$$text"; done
	@printf '\nVariables: PREFIX, DESTDIR, UNITDIR, SYSTEMD=no, SECCOMP=no, STATIC=yes, CC, CFLAGS, FILE and PORT (for run), V=1.\n'

-include $(wildcard $(BUILD)/obj/*.d $(BUILD)/asan/*.d $(BUILD)/tests/*.d $(BUILD)/tests/unit/*.d)
