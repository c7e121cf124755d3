//! From a guest's source to the file a boot loader takes.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A file, as long as this lives.
pub struct Guest {
    directory: TempDir,
}

impl Guest {
    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("guest")
    }

    /// What is in it.
    pub fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.path()).unwrap()
    }
}

/// Assembles `guests/NAME.S`.
pub fn guest(name: &str) -> Guest {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bare_metal/guests");
    let guest = Guest { directory: TempDir::with_prefix("kjvm-guest-").unwrap() };
    let (linked, path) = (guest.directory.path().join("elf64"), guest.path());
    run(Command::new("gcc")
        .args(["-nostdlib", "-static", "-no-pie", "-Wa,--fatal-warnings"])
        .arg("-Wl,--build-id=none,-n,-Ttext=0x100000,-z,noexecstack,--no-warn-rwx-segments")
        .args([Path::new("-I"), &sources, Path::new("-o"), &linked])
        .arg(sources.join(format!("{name}.S"))));
    // 64-bit code in a 32-bit file, as Multiboot wants it.
    run(Command::new("objcopy").args(["-O", "elf32-i386"]).args([&linked, &path]));
    guest
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{:?}: {error}", command.get_program()));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
