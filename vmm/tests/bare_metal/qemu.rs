//! Guests under QEMU's software emulation.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::{End, MEMORY, Run, assemble};

/// A guest that hangs is ended after this time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a guest to its end.
pub fn run(name: &str, processors: u32) -> Run {
    let guest = assemble::guest(name);
    // Its clock counts instructions as ours does: nothing depends on how busy the host is.
    let mut child = Command::new("qemu-system-x86_64")
        .args([
            "-accel",
            "tcg",
            "-icount",
            "shift=2,sleep=off",
            "-cpu",
            "max,vendor=GenuineIntel",
            "-no-reboot",
        ])
        .args(["-m", &format!("{}", MEMORY >> 20), "-smp", &processors.to_string()])
        .args(["-nodefaults", "-display", "none", "-serial", "null"])
        .args(["-chardev", "stdio,id=log,signal=off", "-device", "isa-debugcon,iobase=0xe9,chardev=log"])
        .args(["-device", "isa-debug-exit,iobase=0xf4"])
        .arg("-kernel")
        .arg(guest.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap_or_else(|error| panic!("qemu-system-x86_64: {error}; ./setup installs it"));
    // What a guest prints fits into the pipe.
    let end = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status.code(),
            None if Instant::now() >= end => {
                child.kill().unwrap();
                break child.wait().unwrap().code();
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let mut text = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut text).unwrap();
    let end = match status {
        // isa-debug-exit makes an odd number of every status.
        Some(code) if code & 1 == 1 => End::Exit((code >> 1) as u8),
        Some(0) => End::Reset,
        other => End::Other(format!("QEMU ended with {other:?}")),
    };
    Run { text: String::from_utf8_lossy(&text).into_owned(), end }
}
