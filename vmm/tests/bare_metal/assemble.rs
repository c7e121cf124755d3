//! From a guest's source to the file a boot loader takes.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The file's bytes, and where it is.
pub struct Guest {
    pub path: PathBuf,
    pub bytes: Vec<u8>,
}

/// Assembles `guests/NAME.S` for one of the engines: tests run at the same time.
pub fn guest(name: &str, engine: &str) -> Guest {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bare_metal/guests");
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let linked = directory.join(format!("{name}-{engine}.elf64"));
    let path = directory.join(format!("{name}-{engine}"));
    run(Command::new("gcc")
        .args(["-nostdlib", "-static", "-no-pie", "-Wa,--fatal-warnings"])
        .arg("-Wl,--build-id=none,-n,-Ttext=0x100000,-z,noexecstack,--no-warn-rwx-segments")
        .args([Path::new("-I"), &sources, Path::new("-o"), &linked])
        .arg(sources.join(format!("{name}.S"))));
    // 64-bit code in a 32-bit file, as Multiboot wants it.
    run(Command::new("objcopy").args(["-O", "elf32-i386"]).args([&linked, &path]));
    let bytes = std::fs::read(&path).unwrap();
    Guest { path, bytes }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{:?}: {error}", command.get_program()));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
