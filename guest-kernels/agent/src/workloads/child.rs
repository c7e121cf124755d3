//! The process of a workload, and what it and the agent say to each other: one JSON object a line over its standard input
//! and output.
//!
//! It says [`Reply::Started`] or [`Reply::Refused`] by itself, then answers each [`CheckRequest`] with a [`Reply::Report`]. When its
//! input is closed it ends.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;

use agent_protocol::frame::LineBuffer;
use agent_protocol::message::{Failure, Workload, WorkloadReport};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};

use super::clock::KernelClocks;
use super::clocks::Clocks;
use super::ext4::Ext4;
use super::memory::Memory;
use super::swap::Swap;
use super::threads::Threads;
use super::timers::Timers;
use super::tmpfs::Tmpfs;
use super::work::{PAUSE, Work, Worker};
use crate::failure::{While, failure};

/// From the agent: check everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckRequest {
    /// Repeated in the report: the answer to a check that was given up on must not be taken for that of the next.
    pub check: u64,
}

/// To the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// At work.
    Started,
    /// Not possible here.
    Refused(Failure),
    /// What a check found.
    Report {
        /// Of the request.
        check: u64,
        /// The report.
        report: WorkloadReport,
    },
}

/// What is on the command line of a child, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arguments {
    /// Which workload.
    pub workload: Workload,
    /// Directory on ext4.
    pub directory: String,
    /// KiB of memory.
    pub kib: u32,
    /// Of every pattern.
    pub seed: u64,
}

impl Arguments {
    /// As words.
    pub fn words(&self) -> [String; 4] {
        let name = self.workload.name().to_owned();
        [name, self.directory.clone(), self.kib.to_string(), self.seed.to_string()]
    }

    fn parse(words: &[String]) -> Result<Arguments, Failure> {
        let [name, directory, kib, seed] = words else {
            return Err(failure(format!(
                "{} arguments: expected name, directory, KiB and seed",
                words.len()
            )));
        };
        let workload = Workload::ALL.into_iter().find(|workload| workload.name() == name);
        Ok(Arguments {
            workload: workload.ok_or_else(|| failure(format!("workload {name}: no such workload")))?,
            directory: directory.clone(),
            kib: kib.parse().map_err(|_| failure(format!("{kib}: not a number of KiB")))?,
            seed: seed.parse().map_err(|_| failure(format!("{seed}: not a seed")))?,
        })
    }
}

/// Works as a workload until the agent closes our input.
pub fn run_child(arguments: &[String]) -> ! {
    let served = Arguments::parse(arguments).and_then(|arguments| {
        let work = take_up(&arguments)?;
        serve(arguments.workload, Worker::new(work))
    });
    match served {
        Ok(()) => std::process::exit(0),
        Err(refusal) => {
            let _ = say(&Reply::Refused(refusal));
            std::process::exit(1)
        }
    }
}

fn take_up(arguments: &Arguments) -> Result<Box<dyn Work>, Failure> {
    let Arguments { workload, directory, kib, seed } = arguments;
    Ok(match workload {
        Workload::Memory => Box::new(Memory::new(*kib, *seed)?),
        Workload::Tmpfs => Box::new(Tmpfs::mount(*seed)?),
        Workload::Ext4 => Box::new(Ext4::new(directory, *seed)?),
        Workload::Swap => Box::new(Swap::new(*kib, *seed)?),
        Workload::Threads => Box::new(Threads::new()?),
        Workload::Timers => Box::new(Timers::new(Arc::new(KernelClocks))?),
        Workload::Clocks => Box::new(Clocks::new(Arc::new(KernelClocks))?),
    })
}

fn serve(workload: Workload, mut worker: Worker<Box<dyn Work>>) -> Result<(), Failure> {
    say(&Reply::Started)?;
    let (mut input, mut lines, mut bytes) = (std::io::stdin(), LineBuffer::default(), [0; 512]);
    loop {
        if !readable(&input)? {
            worker.step();
            continue;
        }
        let len = input.read(&mut bytes).while_doing(|| "reading requests".into())?;
        if len == 0 {
            return Ok(());
        }
        for line in lines.push(&bytes[..len]) {
            let line = line.map_err(|error| failure(error.to_string()))?;
            let CheckRequest { check } =
                serde_json::from_slice(&line).map_err(|error| failure(format!("not a request: {error}")))?;
            let differences = worker.check();
            let report = WorkloadReport { workload, progress: worker.work.progress(), differences };
            say(&Reply::Report { check, report })?;
        }
    }
}

/// Whether there is input, waiting for [`PAUSE`].
fn readable(input: &impl AsFd) -> Result<bool, Failure> {
    let timeout = PollTimeout::try_from(PAUSE).unwrap_or(PollTimeout::ZERO);
    match poll(&mut [PollFd::new(input.as_fd(), PollFlags::POLLIN)], timeout) {
        Ok(ready) => Ok(ready > 0),
        // Freezing for a sleep can end it early.
        Err(Errno::EINTR) => Ok(false),
        Err(errno) => Err(errno).while_doing(|| "waiting for requests".into()),
    }
}

fn say(reply: &Reply) -> Result<(), Failure> {
    let mut line = serde_json::to_vec(reply).map_err(|error| failure(error.to_string()))?;
    line.push(b'\n');
    let mut output = std::io::stdout().lock();
    output.write_all(&line).and_then(|()| output.flush()).while_doing(|| "answering the agent".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_back() {
        let arguments =
            Arguments { workload: Workload::Ext4, directory: "/mnt".into(), kib: 64, seed: u64::MAX };
        assert_eq!(Arguments::parse(&arguments.words()), Ok(arguments));
    }

    #[test]
    fn wrong_arguments_are_named() {
        let parse = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            Arguments::parse(&words).unwrap_err().text
        };
        assert_eq!(parse("memory"), "1 arguments: expected name, directory, KiB and seed");
        assert_eq!(parse("memery / 1 1"), "workload memery: no such workload");
        assert_eq!(parse("memory / x 1"), "x: not a number of KiB");
        assert_eq!(parse("memory / 1 -1"), "-1: not a seed");
    }

    #[test]
    fn the_conversation_as_it_stands_in_the_pipes() {
        let json = |reply: &Reply| serde_json::to_string(reply).unwrap();
        assert_eq!(serde_json::to_string(&CheckRequest { check: 3 }).unwrap(), r#"{"check":3}"#);
        assert_eq!(json(&Reply::Started), r#""started""#);
        let report = WorkloadReport { workload: Workload::Swap, progress: 7, differences: vec!["x".into()] };
        assert_eq!(
            json(&Reply::Report { check: 3, report }),
            r#"{"report":{"check":3,"report":{"workload":"swap","progress":7,"differences":["x"]}}}"#
        );
    }
}
