//! Programs of the initramfs or of a mounted file system.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use agent_protocol::message::{Answer, Failure};
use nix::errno::Errno;

use crate::failure::{While, failure, failure_with};

/// Bytes of each output that fit into the answer.
const TAIL: u64 = 600;
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs a program to its end and returns the tail of what it printed.
///
/// # Errors
/// If it does not start, or runs longer than allowed (ETIMEDOUT; it is killed).
pub fn run(argv: &[String], timeout_ms: u64) -> Result<Answer, Failure> {
    let [program, arguments @ ..] = argv else { return Err(failure("no program named")) };
    let running = || format!("running {program}");
    let program = find(program);
    let outputs = ["/run/agent-stdout", "/run/agent-stderr"];
    let [out, err] = outputs.map(File::create);
    let mut child = Command::new(&program)
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(out.while_doing(running)?)
        .stderr(err.while_doing(running)?)
        .spawn()
        .while_doing(running)?;
    let deadline = Instant::now() + Duration::from_millis(timeout_ms);
    let status = loop {
        if let Some(status) = child.try_wait().while_doing(running)? {
            break status;
        }
        if Instant::now() >= deadline {
            child.kill().and_then(|()| child.wait()).while_doing(running)?;
            let program = program.display();
            return Err(failure_with(
                Errno::ETIMEDOUT,
                format!("{program} ran for more than {timeout_ms} ms"),
            ));
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let [stdout, stderr] = outputs.map(tail);
    Ok(Answer::Ran { code: status.code(), signal: status.signal(), stdout: stdout?, stderr: stderr? })
}

/// Looks a program up. Left to the standard library, the search would make it fork by a way that needs a socket pair, and not every
/// guest kernel has sockets.
fn find(program: &str) -> PathBuf {
    let found =
        PATH.split(':').map(|directory| Path::new(directory).join(program)).find(|path| path.exists());
    found.unwrap_or_else(|| program.into())
}

fn tail(path: &str) -> Result<String, Failure> {
    let reading = || format!("reading {path}");
    let mut file = File::open(path).while_doing(reading)?;
    let len = file.metadata().while_doing(reading)?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(TAIL))).while_doing(reading)?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes).while_doing(reading)?;
    // JSON escapes make lines longer: what does not print is replaced by one character.
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.chars().map(|c| if c.is_control() && c != '\n' { '?' } else { c }).collect())
}
