//! A kernel tree of a few lines: it is configured and compiled like the real one, in no time.

use std::fs;
use std::path::Path;

/// What its `make` does: the configuration is what was asked for, less what `KCONFIG` says it cannot have.
const MAKEFILE: &str = r#"VERSION = 6
PATCHLEVEL = 99
SUBLEVEL = 0

allnoconfig:
	@echo "  HOSTCC  scripts/kconfig/conf.o"
	@grep -v '^CONFIG_CANNOT=' $(KCONFIG_ALLCONFIG) > $(O)/.config

olddefconfig:
	@echo 'CONFIG_DEFAULT=y' >> $(O)/.config

bzImage:
	@echo "  CC      kernel/fork.o"
	@if [ -e $(CURDIR)/broken ]; then echo "kernel/fork.c:7:1: error: expected ';'" >&2; exit 1; fi
	@if [ -e $(CURDIR)/ended ]; then kill $$PPID; sleep 5; fi
	@echo "  LD      vmlinux"
	@mkdir -p $(O)/arch/x86/boot $(O)/include/config
	@(echo image of $(VERSION).$(PATCHLEVEL); env | sort | grep -v '^\(PWD\|OLDPWD\|MAKE.*\|MFLAGS\|SHLVL\|_\|HOME\|TMPDIR\|PATH\|KCONFIG_ALLCONFIG\|O\)=') > $(O)/arch/x86/boot/bzImage
	@echo "ffffffff81000000 T _stext" > $(O)/System.map
	@echo 6.99.0-test > $(O)/include/config/kernel.release
	@if [ -e $(CURDIR)/slow ]; then touch $(CURDIR)/began; sleep 5; fi
"#;

const KCONFIG: &str = "config KNOWN\n\tbool\nconfig CANNOT\n\tbool \"never\"\nmenuconfig OFF\n\tbool\n";

/// Writes the tree.
pub fn kernel_tree(root: &Path) {
    for (path, text) in [
        ("Makefile", MAKEFILE),
        ("Kconfig", "source \"arch/x86/Kconfig\"\n"),
        ("arch/x86/Kconfig", KCONFIG),
        ("kernel/power/Kconfig", ""),
    ] {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}
