//! What tests of the command share.
#![allow(dead_code, reason = "each test uses some of it")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs the command in a directory.
pub fn kjvm(directory: &Path, arguments: &[&str]) -> Output {
    kjvm_with(directory, &[], arguments)
}

/// The same with variables of the environment.
pub fn kjvm_with(directory: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    command(directory, arguments).envs(environment.iter().copied()).output().unwrap()
}

/// The same with something on standard input.
pub fn kjvm_fed(directory: &Path, input: &str, arguments: &[&str]) -> Output {
    let mut child = command(directory, arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kjvm"));
    command.args(arguments).env("NO_COLOR", "1").env_remove("RUST_BACKTRACE").current_dir(directory);
    command
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn last_line(output: &Output) -> String {
    stdout(output).lines().last().unwrap_or_default().to_owned()
}

/// A scenario of the library.
pub fn library(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios").join(name);
    path.to_string_lossy().into_owned()
}

/// Jumps to where there is no memory: no machine has code there, so it is we who cannot go on.
pub fn broken_kernel() -> Vec<u8> {
    kernel_of(&[0xb8, 0x00, 0x00, 0x00, 0xe0, 0xff, 0xe0]) // mov eax, 0xe0000000; jmp eax
}

/// Halts with interrupts off, for ever.
pub fn halting_kernel() -> Vec<u8> {
    kernel_of(&[0xfa, 0xf4]) // cli; hlt
}

/// An ELF file with a PVH entry at this code, which runs in 32-bit protected mode.
fn kernel_of(code: &[u8]) -> Vec<u8> {
    const ADDRESS: u64 = 0x10_0000;
    let note: Vec<u8> = [4u32, 4, 18] // XEN_ELFNOTE_PHYS32_ENTRY
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .chain(*b"Xen\0")
        .chain((ADDRESS as u32).to_le_bytes())
        .collect();
    let offset = 64 + 2 * 56;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    [ADDRESS, 64, 0].iter().for_each(|word| file.extend(word.to_le_bytes()));
    file.extend([0, 0, 0, 0, 64, 0, 56, 0, 2, 0, 64, 0, 0, 0, 0, 0]);
    for (kind, offset, bytes) in [(1u32, offset, code.len()), (4, offset + 16, note.len())] {
        file.extend(kind.to_le_bytes());
        file.extend(5u32.to_le_bytes());
        let bytes = bytes as u64;
        [offset as u64, ADDRESS, ADDRESS, bytes, bytes, 4]
            .iter()
            .for_each(|word| file.extend(word.to_le_bytes()));
    }
    file.extend(code);
    file.resize(offset + 16, 0x90);
    file.extend(note);
    file
}
