# What is installed, packaged and deployed; part of the Makefile.

# A shell that does not know `~` behind an equals sign leaves it to us.
override PREFIX := $(patsubst ~/%,$(HOME)/%,$(PREFIX))
# Where configuration is: the system's for what is installed for the system, else beside the rest.
sysconfdir ?= $(if $(filter /usr /usr/local,$(PREFIX)),/etc,$(PREFIX)/etc)
unitdir    ?= $(PREFIX)/lib/systemd/system
CONFIG_FOLDER := $(DESTDIR)$(sysconfdir)/tallow

INSTALLED := bin/tallow share/man/man1/tallow.1 share/bash-completion/completions/tallow share/zsh/site-functions/_tallow \
             share/fish/vendor_completions.d/tallow.fish share/doc/tallow/examples/tallow.conf \
             lib/sysusers.d/tallow.conf
THERE      = $(DESTDIR)$(PREFIX)
UNITS      = $(DESTDIR)$(unitdir)

.PHONY: install install-files uninstall
install: all ## install to $(DESTDIR)$(PREFIX): the program, its man page, completions, units of systemd; a configuration if there is none
	@$(MAKE) --no-print-directory install-files
install-files:
	@umask 022 && folders="$(sort $(dir $(INSTALLED:%=$(THERE)/%))) $(UNITS) $(CONFIG_FOLDER)" && \
	 mkdir -p $$folders && [ -z "$$(find $$folders -maxdepth 0 ! -writable)" ] || { \
	 echo "install: $(THERE) and $(CONFIG_FOLDER) need to be writable: be root, or for you alone: make install PREFIX=~/.local" >&2; exit 1; }
	install -m 755 $(BIN) $(THERE)/bin/tallow
	@umask 022 && cd $(THERE)/share && tallow=$(abspath $(BIN)) && set -x && \
	 $$tallow manual >man/man1/tallow.1 && \
	 $$tallow completion bash >bash-completion/completions/tallow && \
	 $$tallow completion zsh >zsh/site-functions/_tallow && \
	 $$tallow completion fish >fish/vendor_completions.d/tallow.fish
	install -m 644 src/deploy/systemd/tallow.socket $(UNITS)/tallow.socket
	@umask 022 && sed 's|@bindir@|$(PREFIX)/bin|; s|@sysconfdir@|$(sysconfdir)|' src/deploy/systemd/tallow.service.in \
	 >$(UNITS)/tallow.service
	install -m 644 src/deploy/systemd/tallow.sysusers $(THERE)/lib/sysusers.d/tallow.conf
	@umask 022 && sed 's|/etc/tallow|$(sysconfdir)/tallow|' src/deploy/tallow.conf >$(THERE)/share/doc/tallow/examples/tallow.conf
	@test -e $(CONFIG_FOLDER)/tallow.conf || { set -x; install -m 644 $(THERE)/share/doc/tallow/examples/tallow.conf $(CONFIG_FOLDER)/tallow.conf; }
uninstall: ## remove what install put there; a configuration that was changed stays
	@if cmp -s $(THERE)/share/doc/tallow/examples/tallow.conf $(CONFIG_FOLDER)/tallow.conf; then rm -f $(CONFIG_FOLDER)/tallow.conf; \
	 elif [ -e $(CONFIG_FOLDER)/tallow.conf ]; then echo "$(CONFIG_FOLDER)/tallow.conf was changed, and stays"; fi
	rm -f $(INSTALLED:%=$(THERE)/%) $(UNITS)/tallow.service $(UNITS)/tallow.socket
	@for folder in $(THERE)/share/doc/tallow/examples $(THERE)/share/doc/tallow $(CONFIG_FOLDER); do \
	 [ ! -d $$folder ] || rmdir --ignore-fail-on-non-empty $$folder; done

# ---- Debian ----

# What is made carries the date of the commit, and so the same bytes whenever it is made.
COMMIT_TIME = $(or $(shell git -C . log -1 --format=%ct 2>/dev/null),$(shell stat -c %Y src/cli/version.h))
VERSION     = $(shell sed -n 's/.*TALLOW_VERSION "\(.*\)"/\1/p' src/cli/version.h)

.PHONY: deb
deb: all ## build/deb/tallow_VERSION_ARCH.deb, of the program that was built, and what lintian says of it
	@tests/tools/install.sh "" "dh dpkg-deb lintian" "debhelper dpkg-dev lintian"
	@rm -rf build/deb && mkdir -p build/deb/tallow && cp -r src/deploy/debian build/deb/tallow/debian
	@printf 'tallow (%s) unstable; urgency=medium\n\n  * %s\n\n -- %s  %s\n' $(VERSION) "Commit $(COMMIT)." \
	 "$$(sed -n 's/^Maintainer: //p' src/deploy/debian/control)" "$$(LC_ALL=C date -u -R -d @$(COMMIT_TIME))" >build/deb/tallow/debian/changelog
	@cd build/deb/tallow && umask 022 && TOP=$(CURDIR) LC_ALL=C TZ=UTC SOURCE_DATE_EPOCH=$(COMMIT_TIME) DPKG_DEB_THREADS_MAX=1 MAKEFLAGS= debian/rules binary >../log 2>&1 || \
	 { tail -20 ../log >&2; exit 1; }
	@rm -r build/deb/tallow && ls -l build/deb/*.deb
	@lintian --fail-on error,warning --allow-root --info build/deb/*.deb

.PHONY: deb-test
deb-test: deb ## the package in a Debian of its own, plain and booted by systemd: installs, serves, ends, goes (as root, with network: minutes)
	@tests/tools/install.sh "" "debootstrap systemd-nspawn curl" "debootstrap systemd-container curl"
	@tests/deploy/deb.sh build/deploy $(wildcard build/deb/*.deb) models/tallow-tiny

# ---- a container ----

CONTAINER_TOOL = $(firstword $(foreach tool,podman buildah,$(if $(shell command -v $(tool)),$(tool))))

.PHONY: container container-test
container: ## the image tallow:VERSION, by buildah or podman (BASE=image of a Debian 12)
	@$(if $(CONTAINER_TOOL),,tests/tools/install.sh "" podman podman)
	@$(or $(CONTAINER_TOOL),podman) build --format docker $(if $(BASE),--build-arg BASE=$(BASE)) \
	 --build-arg COMMIT=$(COMMIT) -f src/deploy/container/Containerfile --ignorefile src/deploy/container/Containerfile.dockerignore -t tallow:$(VERSION) .
container-test: ## the image built and run as nobody, on a root that is only read (as root, with network for apt: minutes)
	@tests/tools/install.sh "" "buildah podman runc iptables debootstrap curl" "buildah podman runc crun iptables debootstrap curl"
	@tests/deploy/container.sh build/deploy/container models/tallow-tiny '$(COMMIT)'

.PHONY: reproducible
reproducible: deps ## what is committed, built twice in different folders and surroundings: the same bytes (some minutes)
	@tests/deploy/reproducible.sh
