//! The `kjvm` command: arguments in, library calls, plain words out.

mod boot;
mod failure;
mod kernels;
mod output;
mod progress;
mod run;
mod terminal;

use std::process::ExitCode;

use clap::{ArgAction, Parser, Subcommand};
use tracing::level_filters::LevelFilter;

use crate::failure::Failure;

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
    /// The kernels that run inside the machine: compile, fetch, examine, remove.
    #[command(subcommand)]
    Kernels(kernels::Command),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    output::set_up(level(&arguments));
    let result = match arguments.command {
        Command::Boot(command) => boot::run(&command, arguments.quiet),
        Command::Run(command) => run::run(&command, arguments.quiet),
        Command::Kernels(command) => kernels::run(command, arguments.quiet),
    };
    match result {
        Ok(code) => code,
        Err(failure) => report(failure),
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

fn report(failure: Failure) -> ExitCode {
    // Every message of ours is complete with its cause, so the chain of causes would say it twice.
    eprintln!("{:?}", failure.report.unwrap_or_else(|| miette::Report::msg(failure.message)));
    failure.code.into()
}
