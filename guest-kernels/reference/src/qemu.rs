//! QEMU as a process: software emulation, two serial ports, disks with a volatile cache, a power switch.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;
use thiserror::Error;

use crate::qmp::{Qmp, QmpError};

const PROGRAM: &str = "qemu-system-x86_64";
/// In the machine's directory: its log of processor resets, and how much of its end a person is shown.
const RESETS: &str = "resets";
const RESET_LINES: usize = 12;

/// A plain processor with what the guest's code uses, and RDRAND so that no kernel waits for entropy.
const CPU: &str = "qemu64,+rdrand,+ssse3,+sse4.1,+sse4.2,+popcnt";

/// How long a read of the agent's line blocks.
const AGENT_READ_SLICE: Duration = Duration::from_millis(20);

const START_LIMIT: Duration = Duration::from_secs(20);
const CONSOLE_TAIL: usize = 40;

/// QEMU cannot be started or does not obey.
#[derive(Debug, Error)]
pub enum QemuError {
    /// Not installed.
    #[error("{PROGRAM} is not installed; it is in the Debian package qemu-system-x86")]
    Missing,
    /// It ended at once.
    #[error("{PROGRAM} did not start: {stderr}")]
    Start {
        /// What it said.
        stderr: String,
    },
    /// It goes on.
    #[error("{PROGRAM} still runs after {} s", .within.as_secs_f32())]
    StillRunning {
        /// After this time.
        within: Duration,
    },
    /// An event did not come.
    #[error("QEMU event {event} did not come within {} s; events so far: {seen:?}", .within.as_secs_f32())]
    NoEvent {
        /// Which.
        event: String,
        /// After this time.
        within: Duration,
        /// Those that came.
        seen: Vec<String>,
    },
    /// Its instructions are not counted.
    #[error("the machine was not started to count instructions")]
    NotCounted,
    /// The machine protocol failed.
    #[error(transparent)]
    Qmp(#[from] QmpError),
    /// The host failed.
    #[error("{what}: {error}")]
    Io {
        /// What was done.
        what: &'static str,
        /// What went wrong.
        error: io::Error,
    },
}

fn io_error(what: &'static str) -> impl FnOnce(io::Error) -> QemuError {
    move |error| QemuError::Io { what, error }
}

/// How a disk is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Front {
    /// virtio-blk over PCI.
    Virtio,
    /// NVMe.
    Nvme,
    /// SATA.
    Ahci,
}

impl Front {
    /// What Linux calls the disk attached as number `number`, and its partition (from 1; 0 is the disk).
    pub fn device(self, number: usize, partition: u32) -> String {
        let letter = char::from(b'a' + (number % 26) as u8);
        let disk = match self {
            Front::Virtio => format!("/dev/vd{letter}"),
            Front::Nvme => format!("/dev/nvme{number}n1"),
            Front::Ahci => format!("/dev/sd{letter}"),
        };
        match (partition, self) {
            (0, _) => disk,
            (_, Front::Nvme) => format!("{disk}p{partition}"),
            _ => format!("{disk}{partition}"),
        }
    }

    fn arguments(self, number: usize) -> String {
        match self {
            Front::Virtio => format!("virtio-blk-pci,drive=disk{number},write-cache=on"),
            Front::Nvme => format!("nvme,drive=disk{number},serial=kjvm{number}"),
            Front::Ahci => format!("ide-hd,drive=disk{number},bus=sata.{number},write-cache=on"),
        }
    }
}

/// What to start.
#[derive(Debug, Clone)]
pub struct Config {
    /// `q35` or `pc`.
    pub board: &'static str,
    /// Virtual processors.
    pub cpus: u32,
    /// Whether all of them take turns on one host thread.
    pub one_thread: bool,
    /// Whether instructions are counted ([`Qemu::instructions`]); all processors share one host thread then.
    pub counted: bool,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// bzImage.
    pub kernel: PathBuf,
    /// Its initramfs.
    pub initrd: PathBuf,
    /// Its command line.
    pub cmdline: String,
    /// Raw files, in the order Linux numbers them.
    pub disks: Vec<(Front, PathBuf)>,
    /// An empty file for everything the first disk is told (see [`crate::write_log`]).
    pub write_log: PathBuf,
}

/// A running QEMU; killed when dropped.
#[derive(Debug)]
pub struct Qemu {
    child: Child,
    qmp: Qmp,
    directory: TempDir,
}

impl Qemu {
    /// Starts the machine; returns it and the agent's line.
    ///
    /// # Errors
    /// Any [`QemuError`].
    pub fn start(config: &Config) -> Result<(Qemu, UnixStream), QemuError> {
        let directory = TempDir::with_prefix("kjvm-qemu-").map_err(io_error("temporary directory"))?;
        // We listen and QEMU connects: no waiting for a socket file to appear.
        let listen = |name: &str| -> Result<UnixListener, QemuError> {
            let listener = UnixListener::bind(directory.path().join(name)).map_err(io_error("socket"))?;
            listener.set_nonblocking(true).map_err(io_error("socket"))?;
            Ok(listener)
        };
        let (agent, qmp) = (listen("agent")?, listen("qmp")?);
        let stderr = File::create(directory.path().join("stderr")).map_err(io_error("temporary file"))?;
        let mut child = Command::new(PROGRAM)
            .args(arguments(config, directory.path()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .map_err(|error| match error.kind() {
                ErrorKind::NotFound => QemuError::Missing,
                _ => QemuError::Io { what: PROGRAM, error },
            })?;
        let connected = accept(&agent, &mut child, directory.path())
            .and_then(|agent| Ok((agent, Qmp::new(accept(&qmp, &mut child, directory.path())?)?)));
        match connected {
            Ok((agent, qmp)) => {
                agent.set_read_timeout(Some(AGENT_READ_SLICE)).map_err(io_error("agent's line"))?;
                Ok((Qemu { child, qmp, directory }, agent))
            }
            Err(error) => {
                stop(&mut child);
                Err(error)
            }
        }
    }

    /// Cuts the power: nothing of the guest runs on, nothing it left in QEMU's hands is finished.
    pub fn power_cut(mut self) {
        stop(&mut self.child);
    }

    /// Waits until the machine has switched itself off or reset (which ends QEMU too).
    ///
    /// # Errors
    /// [`QemuError::StillRunning`] or [`QemuError::Io`].
    pub fn wait_end(&mut self, within: Duration) -> Result<ExitStatus, QemuError> {
        let end = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().map_err(io_error(PROGRAM))? {
                return Ok(status);
            }
            if Instant::now() >= end {
                return Err(QemuError::StillRunning { within });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for an event, for instance `SUSPEND`, `WAKEUP`, `SUSPEND_DISK`, `SHUTDOWN` or `RESET`.
    ///
    /// # Errors
    /// [`QemuError::NoEvent`] or [`QemuError::Qmp`].
    pub fn wait_event(&mut self, event: &str, within: Duration) -> Result<(), QemuError> {
        if self.qmp.wait_event(event, within)? {
            return Ok(());
        }
        Err(QemuError::NoEvent { event: event.to_owned(), within, seen: self.qmp.events().to_vec() })
    }

    /// Wakes the machine from S3.
    ///
    /// # Errors
    /// [`QemuError::Qmp`].
    pub fn wake(&mut self) -> Result<(), QemuError> {
        self.qmp.execute("system_wakeup", &json!({}))?;
        Ok(())
    }

    /// Presses the power button.
    ///
    /// # Errors
    /// [`QemuError::Qmp`].
    pub fn power_button(&mut self) -> Result<(), QemuError> {
        self.qmp.execute("system_powerdown", &json!({}))?;
        Ok(())
    }

    /// How many instructions all processors have executed since the power came on. Time is the same count then, one nanosecond each, so
    /// the figure depends neither on the host nor on its load.
    ///
    /// # Errors
    /// [`QemuError::Qmp`]; [`QemuError::NotCounted`] on a machine that does not count.
    pub fn instructions(&mut self) -> Result<u64, QemuError> {
        let answer = self.qmp.execute("query-replay", &json!({}))?;
        answer["icount"].as_u64().ok_or(QemuError::NotCounted)
    }

    /// All that was written to the first serial port.
    pub fn console(&self) -> String {
        let bytes = std::fs::read(self.directory.path().join("console")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\r', "")
    }

    /// What a person wants to see of a machine that does not answer.
    pub fn autopsy(&mut self) -> String {
        let status = self.qmp.monitor("info status").unwrap_or_else(|error| error.to_string());
        let registers = self.qmp.monitor("info registers -a").unwrap_or_default();
        let registers = registers.lines().filter(|line| {
            ["CPU#", "RAX", "RSI", "RIP", "CR0"].iter().any(|start| line.trim_start().starts_with(start))
        });
        let console = self.console();
        let lines: Vec<&str> = console.lines().collect();
        let stderr = std::fs::read_to_string(self.directory.path().join("stderr")).unwrap_or_default();
        let mut text = format!("{}\nevents {:?}\n", status.trim(), self.qmp.events());
        let tail = lines.iter().skip(lines.len().saturating_sub(CONSOLE_TAIL)).copied();
        let resets = resets(self.directory.path());
        let resets = std::iter::once("resets:").chain(resets.iter().map(String::as_str));
        for line in
            registers.chain(stderr.lines()).chain(resets).chain(std::iter::once("console:")).chain(tail)
        {
            text.push_str(line);
            text.push('\n');
        }
        text
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

/// Where the processors were at each of the last resets, and which reset was a triple fault.
fn resets(directory: &Path) -> Vec<String> {
    let log = std::fs::read_to_string(directory.join(RESETS)).unwrap_or_default();
    let telling = |line: &&str| {
        ["CPU Reset", "EIP=", "RIP=", "CS =", "Triple fault"].iter().any(|start| line.starts_with(start))
    };
    let lines: Vec<String> = log.lines().filter(telling).map(str::to_owned).collect();
    let from = lines.len().saturating_sub(RESET_LINES);
    lines.into_iter().skip(from).collect()
}

/// SIGKILL, and waits until files and locks are free.
fn stop(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn accept(listener: &UnixListener, child: &mut Child, directory: &Path) -> Result<UnixStream, QemuError> {
    let end = Instant::now() + START_LIMIT;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).map_err(io_error("socket"))?;
                return Ok(stream);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(QemuError::Io { what: "socket", error }),
        }
        let ended = child.try_wait().map_err(io_error(PROGRAM))?.is_some();
        if ended || Instant::now() >= end {
            let stderr = std::fs::read_to_string(directory.join("stderr")).unwrap_or_default();
            return Err(QemuError::Start { stderr: stderr.trim().to_owned() });
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn arguments(config: &Config, directory: &Path) -> Vec<OsString> {
    let in_directory = |name: &str| quoted(&directory.join(name));
    let threads = if config.cpus > 1 && !config.one_thread && !config.counted { "multi" } else { "single" };
    let mut all: Vec<OsString> = Vec::new();
    let mut add = |words: &[&str]| all.extend(words.iter().map(OsString::from));
    add(&["-accel", &format!("tcg,thread={threads}"), "-machine", config.board, "-cpu", CPU]);
    add(&["-m", &config.memory_mib.to_string(), "-smp", &config.cpus.to_string()]);
    if config.counted {
        add(&["-icount", "shift=0"]);
    }
    // A reset ends the process: who boots next, and with which command line, is the host's choice.
    add(&["-nodefaults", "-display", "none", "-no-reboot"]);
    // What the processors were doing when something reset them is all that tells of a triple fault.
    add(&["-d", "cpu_reset", "-D", &directory.join(RESETS).to_string_lossy()]);
    add(&["-chardev", &format!("file,id=console,path={}", in_directory("console"))]);
    add(&["-chardev", &format!("socket,id=agent,path={}", in_directory("agent"))]);
    add(&["-chardev", &format!("socket,id=qmp,path={}", in_directory("qmp"))]);
    add(&["-serial", "chardev:console", "-serial", "chardev:agent", "-mon", "chardev=qmp,mode=control"]);
    if config.disks.iter().any(|(front, _)| *front == Front::Ahci) {
        add(&["-device", "ich9-ahci,id=sata"]);
    }
    for (number, (front, path)) in config.disks.iter().enumerate() {
        let (file, log) = (quoted(path), quoted(&config.write_log));
        let driver = match number {
            0 => format!(
                "driver=blklogwrites,file.driver=file,file.filename={file},log.driver=file,log.filename={log}"
            ),
            _ => format!("format=raw,file={file}"),
        };
        add(&["-drive", &format!("if=none,id=disk{number},cache=writeback,{driver}")]);
        add(&["-device", &front.arguments(number)]);
    }
    add(&["-append", &config.cmdline]);
    all.extend([
        "-kernel".into(),
        config.kernel.clone().into(),
        "-initrd".into(),
        config.initrd.clone().into(),
    ]);
    all
}

/// A path inside QEMU's comma-separated options.
fn quoted(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named_as_linux_names_them() {
        let names =
            [Front::Virtio, Front::Nvme, Front::Ahci].map(|front| (front.device(1, 0), front.device(0, 3)));
        let expected =
            [("/dev/vdb", "/dev/vda3"), ("/dev/nvme1n1", "/dev/nvme0n1p3"), ("/dev/sdb", "/dev/sda3")];
        assert_eq!(names, expected.map(|(disk, partition)| (disk.to_owned(), partition.to_owned())));
    }

    #[test]
    fn a_comma_in_a_path_is_no_option() {
        assert_eq!(quoted(Path::new("/a,b")), "/a,,b");
    }
}
