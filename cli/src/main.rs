//! The `kjvm` command: arguments in, library calls, plain words out.

mod boot;
mod compare;
mod explain;
mod failure;
mod fault;
mod fuzz;
mod image;
mod interrupts;
mod kernels;
mod output;
mod progress;
mod replay;
mod reports;
mod run;
mod terminal;

use std::process::ExitCode;

use clap::{ArgAction, Parser, Subcommand};
use tracing::level_filters::LevelFilter;

use crate::failure::{Code, Failure};

/// A power-failure laboratory for sleep.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    after_help = "Exit codes: 0 all well, 1 a check failed, 2 wrong arguments, 3 the host lacks something, 4 our own fault."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Say more; twice, everything.
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,
    /// Say nothing but results and errors.
    #[arg(short, long, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Boot a kernel on the software engine, its console on the terminal. Ctrl-C ends it.
    Boot(Box<boot::Boot>),
    /// Run scenarios: each ends in a verdict with its evidence.
    Run(run::Run),
    /// Run a recorded run again: the same result, or where it goes another way.
    Replay(replay::Replay),
    /// Run scenarios on two kernels, and tell what is new, fixed or changed.
    Compare(compare::Compare),
    /// Cut the power everywhere in a scenario, lose writes that were not durable, and tell what the next boots make of it.
    Fuzz(fuzz::Fuzz),
    /// Explain a word: an oracle, a clause, a step, a trigger, a knob, a word of a report.
    Explain(explain::Explain),
    /// Decode hibernation images, the kernel's own in swap and ours, from a raw disk image.
    Image(image::Image),
    /// The kernels that run inside the machine: compile, fetch, examine, remove.
    #[command(subcommand)]
    Kernels(kernels::Command),
}

fn main() -> ExitCode {
    fault::watch();
    match fault::guarded(|| {
        Arguments::try_parse().map(|arguments| {
            output::set_up(level(&arguments));
            execute(arguments)
        })
    }) {
        Ok(Ok(Ok(code))) => code,
        Ok(Ok(Err(failures))) => {
            failures.iter().for_each(Failure::say);
            let worst = failures.iter().map(|failure| failure.code as u8).max();
            not_done(worst.unwrap_or(Code::Ours as u8))
        }
        Ok(Err(usage)) => {
            let _ = usage.print();
            // What was asked for with --help is no failure.
            if usage.use_stderr() { not_done(Code::Arguments as u8) } else { ExitCode::SUCCESS }
        }
        Err(panic) => {
            eprintln!("{panic}\n{}", fault::ADVICE);
            not_done(Code::Ours as u8)
        }
    }
}

/// Nothing was tested. `git bisect run` takes small numbers for a verdict.
fn not_done(code: u8) -> ExitCode {
    let bisects = std::env::args_os().any(|argument| argument == "--bisect");
    ExitCode::from(if bisects { run::UNTESTED } else { code })
}

fn execute(arguments: Arguments) -> Result<ExitCode, Vec<Failure>> {
    let quiet = arguments.quiet;
    match arguments.command {
        Command::Boot(command) => boot::run(&command, quiet).map_err(|failure| vec![failure]),
        Command::Run(command) => run::run(&command, quiet),
        Command::Replay(command) => replay::run(&command, quiet).map_err(|failure| vec![failure]),
        Command::Compare(command) => compare::run(&command, quiet),
        Command::Fuzz(command) => fuzz::run(&command, quiet),
        Command::Explain(command) => explain::run(&command).map_err(|failure| vec![failure]),
        Command::Image(command) => image::run(&command, quiet).map_err(|failure| vec![failure]),
        Command::Kernels(command) => kernels::run(command, quiet).map_err(|failure| vec![failure]),
    }
}

fn level(arguments: &Arguments) -> LevelFilter {
    match (arguments.quiet, arguments.verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => LevelFilter::INFO,
        (false, 1) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    }
}
