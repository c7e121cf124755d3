//! A script that shows a finding without kjvm: Python and QEMU are all it needs.

use std::fmt::Write as _;

use crate::checks::record::places;
use crate::explore::recovery::Outcome;
use crate::kernels::Kernels;
use crate::lab::{Lab, Trouble};
use crate::language::{Scenario, Use};
use vmm::FrontEnd;

/// What it does, in Python. What differs between findings stands before it.
const PROGRAM: &str = include_str!("rebuild.py");

/// The script of a finding whose logs, by number of the disk, are these.
///
/// # Errors
/// A machine that cannot be built.
pub(super) fn text(
    scenario: &Scenario,
    kernels: &Kernels,
    name: &str,
    logs: &[(usize, String)],
    outcome: &Outcome,
) -> Result<String, Trouble> {
    let lab = Lab::new(scenario, kernels)?;
    let machine = &lab.guest.machine;
    let map = machine.memory_map().map_err(Trouble::Machine)?;
    let mut text = format!(
        "#!/bin/sh\n\
         # Shows without kjvm what {name}.txt describes. Builds the disks as the power cut left them, from the logs beside this file, and\n\
         # boots a kernel from them under QEMU, with the memory map and the hardware signature that the image was made with.\n\
         #\n\
         #   sh {name}.sh                  builds the disks only\n\
         #   sh {name}.sh BZIMAGE INITRD   boots them; the kernel has to be the one of the report\n\
         #\n\
         # A kernel whose disk drivers are modules needs an initramfs that loads them and resumes from `resume=`, as distributions make it.\n\
         # QEMU names another emulator, APPEND adds to the command line, TIMEOUT is how many seconds to wait (180).\n\
         exec python3 - \"$(dirname \"$0\")\" \"$@\" <<'END'\n"
    );
    let _ = writeln!(text, "NAME = {name:?}");
    let _ = writeln!(text, "# Name, front end, bytes and log of each disk.\nDISKS = [");
    for (number, disk) in scenario.disks.iter().enumerate() {
        let log = logs.iter().find(|(other, _)| *other == number).map_or("", |(_, log)| log.as_str());
        let front_end = if disk.front_end == FrontEnd::Nvme { "nvme" } else { "virtio" };
        let _ = writeln!(text, "    ({:?}, {front_end:?}, {}, {log:?}),", disk.name, disk.size);
    }
    let _ = writeln!(text, "]\n# Disk and first byte of each swap area.\nSWAP = [");
    for place in places(scenario, Use::Swap) {
        let _ = writeln!(text, "    ({}, {}),", place.disk, place.bytes.start);
    }
    let _ = writeln!(text, "]\n# Start, length and type, as in E820.\nMEMORY = [");
    for entry in map.e820() {
        let (start, size, kind) = (entry.addr, entry.size, entry.r#type);
        let _ = writeln!(text, "    ({start:#x}, {size:#x}, {kind}),");
    }
    let config = machine.config();
    let _ = writeln!(text, "]\nCPUS = {}\nRAM = {:#x}", config.processors, config.memory);
    let _ = writeln!(text, "SIGNATURE = {:#x}", config.hardware_signature);
    // What is of kjvm means nothing to others; the image brings its own place in memory.
    let line = lab.primary_line();
    let words: Vec<&str> = line.split_whitespace().filter(|word| !word.starts_with("kjvm.")).collect();
    let _ = writeln!(text, "LINE = {:?}", format!("{} nokaslr acpi_sleep=s4_hwsig ", words.join(" ")));
    let expected = match outcome {
        Outcome::Lost(says) => says.as_str(),
        _ => "",
    };
    let _ = writeln!(text, "# What the console has to say.\nEXPECT = {expected:?}\n\n");
    text.push_str(PROGRAM);
    text.push_str("END\n");
    Ok(text)
}
