//! `reference`: reference runs from the command line.

use std::cell::RefCell;
use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use reference_machine::boot_cost::BootCost;
use reference_machine::machine::Phase;
use reference_machine::provision;
use reference_machine::qemu::Front;
use reference_machine::report::{boot_cost, boot_times, phase_line, table, verdict};
use reference_machine::runs::{self, RUNS, Report, Run, Verdict};

/// The flagship: power fails while the saver sleeps, and A continues after a cold boot.
const FLAGSHIP: &str = "jump::save_s3_power_cut_restore";

/// Proves the guest side - kernels, agent, workloads, image - on an independent machine: QEMU in software emulation.
///
/// Without a name it does the flagship: A jumps to the saver, the saver saves A and suspends to RAM, the power fails, and after
/// a cold boot A continues. Missing kernels are built first.
#[derive(Debug, Parser)]
#[command(
    name = "reference",
    version,
    after_help = "Exit code: 0 passed, 1 a run failed, 2 arguments, 3 the host lacks something"
)]
struct Arguments {
    /// Runs to do, by name or by the start of it.
    names: Vec<String>,
    /// List the runs and what each does.
    #[arg(long)]
    list: bool,
    /// Do all runs.
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// Count the instructions that the boots of primary and saver take, and do nothing else.
    #[arg(long, conflicts_with_all = ["names", "all", "disk"])]
    boot_cost: bool,
    /// Virtual processors.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=8))]
    cpus: u32,
    /// Which kernels: a series (6.12, 6.1) or a distribution's kernel (stock-6.12, stock-6.1, ...).
    #[arg(long, default_value = "6.12")]
    kernel: String,
    /// How the disks are attached.
    #[arg(long, value_enum, default_value_t = DiskFront::Virtio)]
    disk: DiskFront,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DiskFront {
    Virtio,
    Nvme,
    Ahci,
}

impl From<DiskFront> for Front {
    fn from(front: DiskFront) -> Front {
        match front {
            DiskFront::Virtio => Front::Virtio,
            DiskFront::Nvme => Front::Nvme,
            DiskFront::Ahci => Front::Ahci,
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list {
        for run in RUNS {
            say(&format!("{:<30} {}", run.name, run.about));
        }
        return ExitCode::SUCCESS;
    }
    let chosen = match choose(&arguments) {
        Ok(chosen) => chosen,
        Err(message) => return end(&message, 2),
    };
    let kernels = match provision::kernels(&arguments.kernel, &|text| say(text)) {
        Ok(kernels) => kernels,
        Err(error) if error.is_users() => return end(&error.to_string(), 2),
        Err(error) => return end(&error.to_string(), 3),
    };
    if arguments.boot_cost {
        return match BootCost::measure(&kernels, arguments.cpus) {
            Ok(cost) => {
                say(&boot_cost(&cost));
                ExitCode::SUCCESS
            }
            Err(error) => end(&error.to_string(), if error.is_hosts() { 3 } else { 1 }),
        };
    }
    let reports: Vec<Report> = chosen
        .into_iter()
        .map(|run| {
            say(&format!("\n{}   QEMU, software emulation   {}", run.name, run.about));
            let previous: RefCell<Option<Phase>> = RefCell::new(None);
            let observer = move |phase: &Phase| {
                let mut previous = previous.borrow_mut();
                say(&phase_line(phase, previous.as_ref()));
                *previous = Some(phase.clone());
            };
            let report = run.execute(&kernels, arguments.cpus, arguments.disk.into(), Box::new(observer));
            if let Some(times) = boot_times(&report) {
                say(&times);
            }
            say(&format!("\n{}", verdict(&report)));
            report
        })
        .collect();
    if reports.len() > 1 {
        say(&format!("\n{}", table(&reports)));
    }
    let any = |wanted: fn(&Verdict) -> bool| reports.iter().any(|report| wanted(&report.verdict));
    if any(|verdict| matches!(verdict, Verdict::Fail(_))) {
        ExitCode::from(1)
    } else if any(|verdict| matches!(verdict, Verdict::Host(_))) {
        ExitCode::from(3)
    } else {
        ExitCode::SUCCESS
    }
}

fn choose(arguments: &Arguments) -> Result<Vec<&'static Run>, String> {
    if arguments.all {
        return Ok(RUNS.iter().collect());
    }
    if arguments.names.is_empty() {
        return Ok(runs::find(FLAGSHIP).into_iter().collect());
    }
    let mut chosen = Vec::new();
    for name in &arguments.names {
        match runs::find(name) {
            Some(run) => chosen.push(run),
            None => {
                let family: Vec<_> = RUNS.iter().filter(|run| run.name.starts_with(name.as_str())).collect();
                if family.is_empty() {
                    return Err(format!("no run is named `{name}`; `reference --list` shows all"));
                }
                chosen.extend(family);
            }
        }
    }
    Ok(chosen)
}

/// To standard output; whoever closed it early (`| head`) has seen enough.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn end(message: &str, code: u8) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "reference: {message}");
    ExitCode::from(code)
}
