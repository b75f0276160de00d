# What is installed, packaged and deployed; part of the Makefile.

# A shell that does not know `~` behind an equals sign leaves it to us.
override PREFIX := $(patsubst ~/%,$(HOME)/%,$(PREFIX))
# Where configuration is: the system's for what is installed for the system, else beside the rest.
sysconfdir ?= $(if $(filter /usr /usr/local,$(PREFIX)),/etc,$(PREFIX)/etc)
CONFIG_FOLDER := $(DESTDIR)$(sysconfdir)/tallow

INSTALLED := bin/tallow share/man/man1/tallow.1 share/bash-completion/completions/tallow share/zsh/site-functions/_tallow \
             share/fish/vendor_completions.d/tallow.fish share/doc/tallow/examples/tallow.conf \
             lib/systemd/system/tallow.service lib/systemd/system/tallow.socket lib/sysusers.d/tallow.conf
THERE      = $(DESTDIR)$(PREFIX)

.PHONY: install install-files uninstall
install: all ## install to $(DESTDIR)$(PREFIX): the program, its man page, completions, units of systemd; a configuration if there is none
	@$(MAKE) --no-print-directory install-files
install-files:
	@umask 022 && mkdir -p $(sort $(dir $(INSTALLED:%=$(THERE)/%))) $(CONFIG_FOLDER) || { \
	 echo "install: $(THERE) and $(CONFIG_FOLDER) need to be writable: be root, or for you alone: make install PREFIX=~/.local" >&2; exit 1; }
	install -m 755 $(BIN) $(THERE)/bin/tallow
	@umask 022 && cd $(THERE)/share && tallow=$(abspath $(BIN)) && set -x && \
	 $$tallow manual >man/man1/tallow.1 && \
	 $$tallow completion bash >bash-completion/completions/tallow && \
	 $$tallow completion zsh >zsh/site-functions/_tallow && \
	 $$tallow completion fish >fish/vendor_completions.d/tallow.fish
	install -m 644 src/deploy/systemd/tallow.socket $(THERE)/lib/systemd/system/tallow.socket
	@umask 022 && sed 's|@bindir@|$(PREFIX)/bin|; s|@sysconfdir@|$(sysconfdir)|' src/deploy/systemd/tallow.service.in \
	 >$(THERE)/lib/systemd/system/tallow.service
	install -m 644 src/deploy/systemd/tallow.sysusers $(THERE)/lib/sysusers.d/tallow.conf
	@umask 022 && sed 's|/etc/tallow|$(sysconfdir)/tallow|' src/deploy/tallow.conf >$(THERE)/share/doc/tallow/examples/tallow.conf
	@test -e $(CONFIG_FOLDER)/tallow.conf || { set -x; install -m 644 $(THERE)/share/doc/tallow/examples/tallow.conf $(CONFIG_FOLDER)/tallow.conf; }
uninstall: ## remove what install put there; a configuration that was changed stays
	@if cmp -s $(THERE)/share/doc/tallow/examples/tallow.conf $(CONFIG_FOLDER)/tallow.conf; then rm -f $(CONFIG_FOLDER)/tallow.conf; \
	 elif [ -e $(CONFIG_FOLDER)/tallow.conf ]; then echo "$(CONFIG_FOLDER)/tallow.conf was changed, and stays"; fi
	rm -f $(INSTALLED:%=$(THERE)/%)
	@rmdir --ignore-fail-on-non-empty $(wildcard $(THERE)/share/doc/tallow/examples $(THERE)/share/doc/tallow $(CONFIG_FOLDER))
