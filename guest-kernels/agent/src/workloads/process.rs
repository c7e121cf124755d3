//! The agent's end of a workload's process.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use agent_protocol::frame::LineBuffer;
use agent_protocol::message::{Failure, Workload, WorkloadReport};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::child::{Arguments, CheckRequest, Reply};
use crate::failure::{While, failure};

/// Time a workload has to set up or to check. A full check takes less than a second on a slow emulated processor.
const ANSWER: Duration = Duration::from_secs(60);
/// Time a workload has to end when told so.
const END: Duration = Duration::from_secs(5);

/// A workload's process. Ended when dropped.
#[derive(Debug)]
pub struct Process {
    workload: Workload,
    child: Child,
    /// `None` once closed.
    requests: Option<ChildStdin>,
    replies: Replies,
    /// Number of the last check asked for.
    check: u64,
    /// As last reported.
    progress: u64,
    answer: Duration,
}

impl Process {
    /// Starts it; [`Process::wait_until_started`] says whether it is at work.
    ///
    /// # Errors
    /// If it cannot be executed.
    pub fn start(
        program: &Path,
        workload: Workload,
        directory: &str,
        kib: u32,
        seed: u64,
    ) -> Result<Process, Failure> {
        let starting = || format!("starting workload {}", workload.name());
        let arguments = Arguments { workload, directory: directory.into(), kib, seed };
        let mut child = Command::new(program)
            .arg("workload")
            .args(arguments.words())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .while_doing(starting)?;
        let (requests, output) = (child.stdin.take(), child.stdout.take());
        let output = output.ok_or_else(|| failure(format!("{}: no pipe", starting())))?;
        let replies = Replies { output, buffer: LineBuffer::default(), lines: Vec::new() };
        Ok(Process { workload, child, requests, replies, check: 0, progress: 0, answer: ANSWER })
    }

    /// Which.
    pub fn workload(&self) -> Workload {
        self.workload
    }

    /// Waits until it is at work.
    ///
    /// # Errors
    /// What it says if it cannot work, or how it ended.
    pub fn wait_until_started(&mut self) -> Result<(), Failure> {
        let name = self.workload.name();
        match self.replies.next(Instant::now() + self.answer) {
            Ok(Reply::Started) => Ok(()),
            Ok(Reply::Refused(refusal)) => {
                Err(Failure { text: format!("workload {name}: {}", refusal.text), ..refusal })
            }
            Ok(Reply::Report { .. }) => Err(failure(format!("workload {name}: a report before it started"))),
            Err(silence) => Err(failure(format!("workload {name}: {}", self.explain(silence)))),
        }
    }

    /// Asks for a check; [`Process::report`] gives its result.
    pub fn ask_for_check(&mut self) {
        self.check += 1;
        let line = format!("{}\n", serde_json::json!(CheckRequest { check: self.check }));
        // A process that is gone is noticed when its report is missing.
        let _ = self.requests.as_mut().map(|requests| requests.write_all(line.as_bytes()));
    }

    /// Waits for the result of the check asked for.
    pub fn report(&mut self) -> WorkloadReport {
        let deadline = Instant::now() + self.answer;
        loop {
            let difference = match self.replies.next(deadline) {
                Ok(Reply::Report { check, .. }) if check < self.check => continue,
                Ok(Reply::Report { report, .. }) => {
                    self.progress = report.progress;
                    return report;
                }
                Ok(Reply::Refused(refusal)) => format!("gave up: {refusal}"),
                Ok(Reply::Started) => "started a second time".into(),
                Err(silence) => self.explain(silence),
            };
            let (workload, progress) = (self.workload, self.progress);
            return WorkloadReport { workload, progress, differences: vec![difference] };
        }
    }

    fn explain(&mut self, silence: Silence) -> String {
        match silence {
            Silence::Ended => match self.wait() {
                Some(status) => match (status.signal(), status.code()) {
                    (Some(signal), _) => format!("killed by signal {signal}"),
                    (None, code) => format!("ended by itself with code {}", code.unwrap_or(-1)),
                },
                None => "closed its output but runs on".into(),
            },
            Silence::TimedOut => format!("no answer within {} s", self.answer.as_secs()),
            Silence::Garbage(text) => format!("not a reply: {text}"),
        }
    }

    /// Waits for its end, for a while.
    fn wait(&mut self) -> Option<std::process::ExitStatus> {
        let deadline = Instant::now() + END;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
                Ok(None) | Err(_) => return None,
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.requests = None;
        if self.wait().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Why there is no reply.
#[derive(Debug)]
enum Silence {
    /// Its output is closed.
    Ended,
    TimedOut,
    Garbage(String),
}

#[derive(Debug)]
struct Replies {
    output: ChildStdout,
    buffer: LineBuffer,
    /// Read but not yet looked at, the oldest last.
    lines: Vec<Vec<u8>>,
}

impl Replies {
    fn next(&mut self, deadline: Instant) -> Result<Reply, Silence> {
        while self.lines.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(std::os::fd::AsFd::as_fd(&self.output), PollFlags::POLLIN)], timeout)
            {
                Ok(0) if Instant::now() >= deadline => return Err(Silence::TimedOut),
                Ok(0) | Err(Errno::EINTR) => continue,
                Ok(_) => {}
                Err(errno) => return Err(Silence::Garbage(errno.desc().into())),
            }
            let mut bytes = [0; 512];
            let len = self.output.read(&mut bytes).map_err(|error| Silence::Garbage(error.to_string()))?;
            if len == 0 {
                return Err(Silence::Ended);
            }
            for line in self.buffer.push(&bytes[..len]) {
                self.lines.insert(0, line.map_err(|error| Silence::Garbage(error.to_string()))?);
            }
        }
        let line = self.lines.pop().unwrap_or_default();
        serde_json::from_slice(&line).map_err(|error| Silence::Garbage(error.to_string()))
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A shell script to stand in for the program. Installed by another process: were it written by this one, a child that
    /// another test is about to execute could still hold it open for writing, and it would be busy.
    pub fn program(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let (source, path) = (directory.path().join("source"), directory.path().join("program"));
        std::fs::write(&source, format!("#!/bin/sh\n{text}\n")).unwrap();
        let installed = Command::new("install").args(["-m", "755"]).args([&source, &path]).status().unwrap();
        assert!(installed.success());
        (directory, path)
    }

    fn script(text: &str) -> (tempfile::TempDir, Result<Process, Failure>) {
        let (directory, path) = program(text);
        let mut process = Process::start(&path, Workload::Memory, "/", 4, 1);
        if let Ok(process) = &mut process {
            process.answer = Duration::from_secs(1);
        }
        (directory, process)
    }

    fn check(text: &str) -> WorkloadReport {
        let (_directory, process) = script(&format!("echo '\"started\"'; read request; {text}"));
        let mut process = process.unwrap();
        process.wait_until_started().unwrap();
        process.progress = 5;
        process.ask_for_check();
        process.report()
    }

    const REPORT: &str =
        r#"{"report":{"check":1,"report":{"workload":"memory","progress":9,"differences":[]}}}"#;

    #[test]
    fn a_report_is_passed_on() {
        let report = WorkloadReport { workload: Workload::Memory, progress: 9, differences: Vec::new() };
        assert_eq!(check(&format!("echo '{REPORT}'")), report);
    }

    #[test]
    fn whatever_goes_wrong_is_a_difference() {
        for (text, difference) in [
            ("exit 3", "ended by itself with code 3"),
            ("kill -SEGV $$", "killed by signal 11"),
            ("exec sleep 3", "no answer within 1 s"),
            ("echo garbage", "not a reply: expected value at line 1 column 1"),
            (r#"echo '"started"'"#, "started a second time"),
        ] {
            let report = check(text);
            assert_eq!((report.progress, report.differences), (5, vec![difference.to_owned()]));
        }
    }

    #[test]
    fn the_answer_to_an_earlier_check_is_not_taken_for_this_one() {
        let second = REPORT.replace(r#""check":1"#, r#""check":2"#).replace('9', "10");
        let (_directory, process) =
            script(&format!("echo '\"started\"'; echo '{REPORT}'; echo '{second}'; read x"));
        let mut process = process.unwrap();
        process.wait_until_started().unwrap();
        (0..2).for_each(|_| process.ask_for_check());
        assert_eq!(process.report().progress, 10);
    }

    #[test]
    fn a_refusal_keeps_its_errno() {
        let (_directory, process) = script(r#"echo '{"refused":{"errno":12,"text":"no memory"}}'"#);
        let failure = process.unwrap().wait_until_started().unwrap_err();
        assert_eq!(failure, Failure { errno: Some(12), text: "workload memory: no memory".into() });
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let failure = Process::start(Path::new("/nowhere"), Workload::Swap, "/", 4, 1).unwrap_err();
        assert!(failure.text.starts_with("while starting workload swap: "), "{failure}");
    }
}
