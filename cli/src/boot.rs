//! `kjvm boot`: one kernel on the software engine, its console on the terminal.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use devices::PowerRequest;
use devices::acpi_pm::SleepState;
use devices::disk::{Disk, DiskConfig, Media};
use firmware::boot::Payload;
use guest_kernels::cache::Cache;
use guest_kernels::{catalogue, provision};
use scenarios::{Kernel, Tape};
use vmm::{Autopsy, Config, DiskFile, Drive, Entry, FrontEnd, Limit, Machine, Stop};

use crate::failure::{Code, Failure};
use crate::terminal::Terminal;

/// Arguments of `boot`.
#[derive(Debug, Args)]
pub struct Boot {
    /// A kernel's name (`kjvm kernels list`), or a file: bzImage, or vmlinux in ELF format.
    kernel: PathBuf,
    /// The initial RAM file system; a kernel given by name brings the agent's.
    #[arg(long, value_name = "FILE")]
    initrd: Option<PathBuf>,
    /// The kernel's command line, behind `console=ttyS0`.
    #[arg(long, short = 'a', value_name = "TEXT", default_value = "")]
    append: String,
    /// A raw disk image. It is not changed: what the guest writes is forgotten at the end. Can be repeated.
    #[arg(long, value_name = "FILE")]
    disk: Vec<PathBuf>,
    /// Memory: a number with K, M or G.
    #[arg(long, short, value_name = "SIZE", default_value = "256M", value_parser = memory)]
    memory: u64,
    /// Virtual processors.
    #[arg(long, short, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    cpus: u32,
    /// Of everything that is random. The same seed gives the same run.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How the kernel is entered.
    #[arg(long, value_enum, default_value_t = EntryName::Pvh)]
    entry: EntryName,
    /// Ends well as soon as the console says this.
    #[arg(long, value_name = "TEXT")]
    until: Option<String>,
    /// Stops after this many instructions of all processors together.
    #[arg(long, value_name = "INSTRUCTIONS")]
    stop_at: Option<u64>,
    /// Stops after this many seconds of the guest's time.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    time: u64,
    /// Prints one hash over everything the machine is.
    #[arg(long)]
    digest: bool,
}

/// How a kernel is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum EntryName {
    /// Unpacked on the host, at its PVH entry: fast.
    Pvh,
    /// At its 64-bit entry: the kernel unpacks itself, and places itself if it has KASLR.
    Bzimage,
}

fn arguments_failure(error: impl ToString) -> Failure {
    Failure::new(Code::Arguments, error)
}

fn memory(text: &str) -> Result<u64, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let shift = match unit.to_ascii_uppercase().trim_end_matches("IB").trim_end_matches('B') {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        _ => return Err(format!("{unit:?} is no unit: K, M or G")),
    };
    let number: u64 = number.parse().map_err(|_| format!("{text:?} does not begin with a number"))?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("{text} is more than any machine has"))
}

/// Boots.
pub fn run(arguments: &Boot, quiet: bool) -> Result<ExitCode, Failure> {
    let entry = match arguments.entry {
        EntryName::Pvh => Entry::Pvh,
        EntryName::Bzimage => Entry::BzImage,
    };
    let (file, provided) = kernel(&arguments.kernel)?;
    let kernel = Kernel::read(&file, entry).map_err(arguments_failure)?;
    let initrd = match &arguments.initrd {
        Some(file) => Some(read(file)?),
        None => provided,
    };
    let config = Config {
        processors: arguments.cpus,
        memory: arguments.memory,
        seed: arguments.seed,
        ..Config::default()
    };
    let mut machine = Machine::new(config, drives(&arguments.disk)?).map_err(arguments_failure)?;
    let command_line = format!("console=ttyS0 {}", arguments.append);
    let payload =
        Payload { kernel: &kernel.bytes, initrd: initrd.as_deref(), command_line: command_line.trim() };
    machine.boot(kernel.entry, &payload).map_err(arguments_failure)?;
    let stop = watch(&mut machine, arguments);
    conclude(&mut machine, arguments, stop, quiet)
}

/// Runs the machine with its console on the terminal.
fn watch(machine: &mut Machine, arguments: &Boot) -> Outcome {
    /// Instructions between two looks at the keyboard.
    const STRETCH: u64 = 20_000_000;
    let mut tape = Tape::default();
    let mut out = std::io::stdout();
    tape.echo_to(Box::new(move |byte| {
        let _ = out.write_all(&[byte]);
        if byte == b'\n' {
            let _ = out.flush();
        }
    }));
    tape.await_text(arguments.until.as_deref().unwrap_or_default());
    let terminal = Terminal::take_over();
    let last = arguments.stop_at.unwrap_or(u64::MAX);
    let end = devices::VirtualTime(arguments.time.saturating_mul(1_000_000_000));
    loop {
        let stretch = machine.instructions().saturating_add(STRETCH).min(last);
        let limit = Limit { instructions: Some(stretch), time: Some(end) };
        match machine.run(limit, &mut tape) {
            Stop::Instructions if machine.instructions() < last => {}
            stop => return Outcome::Stopped(stop),
        }
        if terminal.interrupted() {
            return Outcome::Interrupted;
        }
        let typed = terminal.typed();
        if !typed.is_empty() {
            machine.receive(0, &typed, 0, &mut tape);
        }
    }
}

enum Outcome {
    Stopped(Stop),
    Interrupted,
}

fn conclude(
    machine: &mut Machine,
    arguments: &Boot,
    outcome: Outcome,
    quiet: bool,
) -> Result<ExitCode, Failure> {
    let (well, text) = match outcome {
        Outcome::Interrupted => (false, "interrupted".to_owned()),
        Outcome::Stopped(stop) => verdict(stop, arguments),
    };
    println!();
    if !well {
        eprintln!("{}", Autopsy::of(machine));
    }
    if !quiet {
        let seconds = machine.now().0 as f64 / 1e9;
        eprintln!("{text} after {} instructions, {seconds:.3} s of the guest's time", machine.instructions());
    }
    if arguments.digest {
        println!("digest {}", machine.digest());
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether a machine ended as it should, and how.
fn verdict(stop: Stop, arguments: &Boot) -> (bool, String) {
    let waits = arguments.until.is_some();
    match stop {
        Stop::Triggered => (true, "the text appeared".into()),
        Stop::Instructions => (!waits, "stopped".into()),
        Stop::Time => (false, "out of time".into()),
        Stop::Idle => (false, "every processor waits and nothing will wake one: stopped".into()),
        Stop::TripleFault { processor } => (false, format!("processor {processor}: triple fault")),
        Stop::Missing { processor, what } => {
            (false, format!("processor {processor} lacks {what:?}: stopped"))
        }
        Stop::NotRunning(state) => (false, format!("the machine is {state}")),
        Stop::Power(PowerRequest::Reset) => (!waits, "reset".into()),
        Stop::Power(PowerRequest::DebugExit { status }) => {
            (status == 0, format!("exit with status {status}"))
        }
        Stop::Power(PowerRequest::Sleep { slp_typ }) => match SleepState::of_slp_typ(slp_typ) {
            Some(SleepState::S5) => (!waits, "switched off".into()),
            Some(state) => (!waits, format!("went to {state:?}")),
            None => (false, format!("wrote SLP_TYP {slp_typ}, which means nothing")),
        },
    }
}

/// The file of a kernel, and the initramfs it brings.
fn kernel(kernel: &Path) -> Result<(PathBuf, Option<Vec<u8>>), Failure> {
    let named = kernel.to_str().filter(|name| !kernel.exists() && catalogue::lookup(name).is_ok());
    let Some(name) = named else {
        if kernel.exists() || kernel.components().count() > 1 {
            return Ok((kernel.to_owned(), None));
        }
        let there = Cache::open()?.names()?;
        return Err(catalogue::unknown(&kernel.display().to_string(), &there).into());
    };
    let provided = provision::kernel(name, &|text| eprintln!("{text}"))
        .map_err(|error| Failure::new(Code::Host, error.to_string()))?;
    Ok((provided.bzimage, Some(provided.initrd)))
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|error| Failure::new(Code::Arguments, format!("{}: {error}", file.display())))
}

fn drives(files: &[PathBuf]) -> Result<Vec<Drive>, Failure> {
    files
        .iter()
        .zip(0u8..)
        .map(|(path, id)| {
            let file = DiskFile::open(path).map_err(arguments_failure)?;
            let media = Media::over(std::sync::Arc::new(file)).map_err(arguments_failure)?;
            let config = DiskConfig { id, serial: Some(format!("kjvm-{id}")), ..DiskConfig::default() };
            let disk = Disk::new(config, media).map_err(arguments_failure)?;
            Ok(Drive { front_end: FrontEnd::Virtio, disk })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_memory() {
        assert_eq!(memory("256M"), Ok(256 << 20));
        assert_eq!(memory("1GiB"), Ok(1 << 30));
        assert_eq!(memory("4096"), Ok(4096));
        assert!(memory("12X").unwrap_err().contains("no unit"));
        assert!(memory("M").unwrap_err().contains("number"));
        assert!(memory("99999999999G").unwrap_err().contains("more than any machine"));
    }
}
