//! Requests, replies and announcements.
//!
//! The host asks, one request at a time; the agent answers. Three rules make lost lines harmless:
//!
//! 1. *Sessions.* The agent says [`FromAgent::Ready`] after every boot, wake and jump, with a [`Session`] that differs
//!    from the one before. The host speaks only after `ready`, and every request names the session it is meant for: one
//!    that was under way when the machine slept is refused in the next session, never executed there.
//! 2. *At most once.* A request is sent again with the same id if no answer came. The agent remembers its last answer
//!    and repeats it for a repeated id instead of executing again.
//! 3. *Noise is answered.* For a line it cannot read the agent says [`FromAgent::Garbled`], and the host sends again.
//!
//! A request that takes the machine away (suspend, jump, power off) is answered by [`FromAgent::Going`] once everything
//! that could be refused has been checked; the next line is a `ready`, here or in another kernel, whose `outcome` says
//! how it went for the kernel that asked.

use serde::{Deserialize, Serialize};

use crate::frame::FrameError;
use crate::layout::{MemoryRange, Region};

/// Which part a kernel plays in the sequence under test, from `kjvm.role=` on its command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Kernel A, whose state must survive.
    #[serde(rename = "A")]
    Primary,
    /// Kernel B, which saves the image of A.
    #[serde(rename = "B")]
    Saver,
    /// Kernel C, which loads the image after a cold boot.
    #[serde(rename = "C")]
    Restorer,
}

impl Role {
    /// `A`, `B` or `C`.
    pub fn letter(self) -> char {
        match self {
            Role::Primary => 'A',
            Role::Saver => 'B',
            Role::Restorer => 'C',
        }
    }

    /// The inverse of [`Role::letter`].
    pub fn from_letter(letter: &str) -> Option<Role> {
        [Role::Primary, Role::Saver, Role::Restorer]
            .into_iter()
            .find(|role| letter.len() == 1 && letter.starts_with(role.letter()))
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.letter())
    }
}

/// A stretch of time in which one kernel runs without sleeping or jumping away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Session {
    /// The kernel's part.
    pub role: Role,
    /// Counts up with every boot, wake and jump. Starts at `kjvm.epoch=` of the command line, or 1.
    pub epoch: u32,
}

impl std::fmt::Display for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.role, self.epoch)
    }
}

/// Host to agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Counts up over the whole life of the host's connection; 0 is never used.
    pub id: u64,
    /// Whom it is meant for.
    pub session: Session,
    /// What is asked.
    pub ask: Ask,
}

/// Agent to host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FromAgent {
    /// A session begins.
    Ready(Ready),
    /// The answer to a request.
    Reply {
        /// Of the request.
        id: u64,
        /// Who answers.
        session: Session,
        /// What came of it.
        result: Result<Answer, Failure>,
    },
    /// The request was accepted and takes the machine away; the next line is a `ready`.
    Going {
        /// Of the request.
        id: u64,
        /// The session that ends.
        session: Session,
    },
    /// A line could not be read: send again.
    Garbled {
        /// Who listens.
        session: Session,
        /// What was wrong.
        error: FrameError,
    },
}

/// A session begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ready {
    /// Its name.
    pub session: Session,
    /// Why it begins.
    pub why: ReadyWhy,
    /// The agent's protocol version.
    pub protocol: u32,
    /// `CLOCK_BOOTTIME` in milliseconds when the line was written; after a boot: how long the kernel took.
    pub boottime_ms: u64,
    /// `CLOCK_MONOTONIC` in milliseconds, then.
    pub monotonic_ms: u64,
    /// `CLOCK_REALTIME` in milliseconds since 1970, then.
    pub realtime_ms: u64,
    /// The request that ended the previous session of this kernel and how it ended: an error means the machine never
    /// went away, or that what followed went wrong (for instance the saver had no room for the image).
    pub outcome: Option<Outcome>,
}

/// What began a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReadyWhy {
    /// The kernel booted.
    Boot,
    /// A request that takes the machine away came back: woken, resumed, jumped back to, or it never left.
    Return,
}

/// How the request that ended the previous session ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Its id.
    pub id: u64,
    /// How it went.
    pub result: Result<Answer, Failure>,
}

/// A request could not be fulfilled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The system call's error number, where one is behind it.
    pub errno: Option<i32>,
    /// What was tried and what went wrong, for a person.
    pub text: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.errno {
            Some(errno) => write!(f, "{} (errno {errno})", self.text),
            None => f.write_str(&self.text),
        }
    }
}

impl std::error::Error for Failure {}

/// Bytes too many for a line: a file of the guest, or a stretch of a scratch disk that the host filled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bulk {
    /// The whole file.
    File {
        /// Its path in the guest.
        path: String,
    },
    /// A stretch of a block device.
    Scratch {
        /// Block device, for instance `/dev/vdb`.
        device: String,
        /// In bytes, a multiple of 512.
        offset: u64,
        /// In bytes.
        len: u64,
        /// CRC-32 (IEEE) of the bytes, checked before they are used; `None` when the agent is to fill the stretch.
        crc32: Option<u32>,
    },
}

/// Kind of a partition, by its type byte in the MBR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartitionKind {
    /// 0x83.
    Linux,
    /// 0x82.
    Swap,
    /// 0xda, "non-FS data": the image.
    Image,
}

/// A partition to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Its size in MiB; partitions follow each other from 1 MiB on.
    pub mib: u32,
    /// What for.
    pub kind: PartitionKind,
}

/// Something that runs in A and notices damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Workload {
    /// Checksummed anonymous memory, and FPU and SSE registers held across the sleep.
    Memory,
    /// A tree of files in tmpfs.
    Tmpfs,
    /// A writer of numbered records with fsync on ext4 (see [`crate::journal`]).
    Ext4,
    /// Anonymous memory pushed out to swap.
    Swap,
    /// Threads bound to each processor that hand a token around.
    Threads,
    /// Periodic and one-shot timers.
    Timers,
    /// A watcher of the monotonic, boottime and realtime clocks.
    Clocks,
}

impl Workload {
    /// All of them.
    pub const ALL: [Workload; 7] = [
        Workload::Memory,
        Workload::Tmpfs,
        Workload::Ext4,
        Workload::Swap,
        Workload::Threads,
        Workload::Timers,
        Workload::Clocks,
    ];

    /// As on the wire and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Workload::Memory => "memory",
            Workload::Tmpfs => "tmpfs",
            Workload::Ext4 => "ext4",
            Workload::Swap => "swap",
            Workload::Threads => "threads",
            Workload::Timers => "timers",
            Workload::Clocks => "clocks",
        }
    }
}

/// A suspend state of /sys/power/state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SuspendState {
    /// `mem` with `deep` selected: ACPI S3.
    Mem,
    /// `freeze`: s2idle.
    Freeze,
}

/// A level of /sys/power/pm_test: how far a transition goes before it turns back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PmTest {
    /// Freeze processes.
    Freezer,
    /// And suspend devices.
    Devices,
    /// And platform.
    Platform,
    /// And take processors down.
    Processors,
    /// And system devices.
    Core,
}

impl PmTest {
    /// All levels, from shallow to deep.
    pub const ALL: [PmTest; 5] =
        [PmTest::Freezer, PmTest::Devices, PmTest::Platform, PmTest::Processors, PmTest::Core];

    /// As in /sys/power/pm_test.
    pub fn name(self) -> &'static str {
        match self {
            PmTest::Freezer => "freezer",
            PmTest::Devices => "devices",
            PmTest::Platform => "platform",
            PmTest::Processors => "processors",
            PmTest::Core => "core",
        }
    }
}

/// A mode of /sys/power/disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HibernateMode {
    /// ACPI S4.
    Platform,
    /// Power off.
    Shutdown,
    /// Reboot.
    Reboot,
    /// Hybrid sleep: image and then S3.
    Suspend,
    /// Write the image, then load it at once.
    TestResume,
}

impl HibernateMode {
    /// All modes.
    pub const ALL: [HibernateMode; 5] = [
        HibernateMode::Platform,
        HibernateMode::Shutdown,
        HibernateMode::Reboot,
        HibernateMode::Suspend,
        HibernateMode::TestResume,
    ];

    /// As in /sys/power/disk.
    pub fn name(self) -> &'static str {
        match self {
            HibernateMode::Platform => "platform",
            HibernateMode::Shutdown => "shutdown",
            HibernateMode::Reboot => "reboot",
            HibernateMode::Suspend => "suspend",
            HibernateMode::TestResume => "test_resume",
        }
    }
}

/// What a userspace hibernation does when its image is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AfterSnapshot {
    /// Power off through /dev/snapshot (S4 where the platform has it).
    PowerOff,
    /// Suspend to RAM; the image is reset after an ordinary wake.
    SuspendToRam,
}

/// What the host can ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// Say `ready` again: the host missed it. Executed in any session. → `ready`
    Hello,
    /// → [`Answer::Identity`]
    Identify,
    /// The machine's memory as the firmware described it and as the kernel uses it. → [`Answer::MemoryMap`]
    MemoryMap {
        /// Ranges to leave out, counted from the first: the answer may need several lines.
        skip: u32,
    },

    /// Write a partition table and make the kernel read it.
    Partition {
        /// For instance `/dev/vda`.
        disk: String,
        /// One to four.
        partitions: Vec<Partition>,
    },
    /// Make an ext4 file system with the real mke2fs.
    MakeExt4 {
        /// Partition.
        device: String,
        /// More arguments of mke2fs.
        #[serde(default)]
        arguments: Vec<String>,
    },
    /// Mount.
    Mount {
        /// Partition.
        device: String,
        /// Directory, made if missing.
        at: String,
        /// For instance `ext4`.
        fstype: String,
        /// As after `mount -o`; empty for none.
        #[serde(default)]
        options: String,
    },
    /// Unmount.
    Unmount {
        /// Directory.
        at: String,
    },
    /// Write a swap header.
    MakeSwap {
        /// Partition.
        device: String,
    },
    /// Make a file to swap to, all of it allocated, with a swap header, durable. → [`Answer::SwapFile`]
    MakeSwapFile {
        /// Of a mounted file system; replaced if it is there.
        path: String,
        /// Its size.
        mib: u32,
    },
    /// Start swapping.
    SwapOn {
        /// Partition or file.
        device: String,
        /// As of swapon(2); `None` for the kernel's choice.
        #[serde(default)]
        priority: Option<u16>,
    },
    /// Stop swapping.
    SwapOff {
        /// Partition or file.
        device: String,
    },

    /// Start workloads, each a process of its own. → [`Answer::Done`] when all are running.
    StartWorkloads {
        /// Which.
        workloads: Vec<Workload>,
        /// Directory on ext4 for [`Workload::Ext4`].
        directory: String,
        /// Size in KiB of what memory and swap workloads hold, each.
        kib: u32,
        /// Of every pattern.
        seed: u64,
    },
    /// Check every running workload. → [`Answer::Workloads`]
    CheckWorkloads,
    /// Check a last time, stop and reap them. → [`Answer::Workloads`]
    StopWorkloads,

    /// Read up to 1024 bytes. → [`Answer::Bytes`]
    ReadFile {
        /// Path.
        path: String,
        /// In bytes.
        offset: u64,
        /// At most 1024.
        len: u32,
    },
    /// Write a few bytes.
    WriteFile {
        /// Path; made if missing.
        path: String,
        /// Where, in bytes; `None` replaces the file.
        offset: Option<u64>,
        /// What, at most 1024 bytes.
        #[serde(with = "crate::message::base64_bytes")]
        bytes: Vec<u8>,
        /// fsync before answering.
        sync: bool,
    },
    /// Copy bytes between a file and a scratch disk. → [`Answer::Copied`]
    CopyBulk {
        /// Source.
        from: Bulk,
        /// Destination.
        to: Bulk,
    },
    /// SHA-256 of a file or of the start of a device. → [`Answer::Hash`]
    HashFile {
        /// Path.
        path: String,
        /// How many bytes; `None` for all.
        len: Option<u64>,
    },
    /// Read a file of /proc or /sys as text, at most 1024 bytes. → [`Answer::Text`]
    ReadText {
        /// Path.
        path: String,
    },
    /// Write text to a file of /proc or /sys with one write(2).
    WriteText {
        /// Path.
        path: String,
        /// Text.
        text: String,
    },
    /// Read a sysctl, or set it first. → [`Answer::Text`]
    Sysctl {
        /// With dots, for instance `vm.drop_caches`.
        name: String,
        /// To be set.
        value: Option<String>,
    },
    /// Run a program of the initramfs or of a mounted file system. → [`Answer::Ran`]
    Run {
        /// Program and arguments.
        argv: Vec<String>,
        /// Killed after this time.
        timeout_ms: u64,
    },
    /// Kernel messages. → [`Answer::Dmesg`]
    Dmesg {
        /// First sequence number wanted.
        since: u64,
    },
    /// sync(2), then a cache flush of every disk.
    Sync,
    /// Take memory that nothing can be made of again, until this much is available.
    FillMemory {
        /// Bytes that stay available.
        left: u64,
    },

    /// Wake or interrupt by RTC alarm.
    SetAlarm {
        /// From now; 0 clears the alarm.
        seconds: u32,
    },
    /// Suspend. → going
    Suspend {
        /// How deep.
        state: SuspendState,
        /// Turn back at this level.
        #[serde(default)]
        pm_test: Option<PmTest>,
    },
    /// Hibernate by the kernel's own means (swsusp). → going
    Hibernate {
        /// What follows the image.
        mode: HibernateMode,
        /// Turn back at this level.
        #[serde(default)]
        pm_test: Option<PmTest>,
    },
    /// Resume from a swsusp image, for kernels whose disk drivers are modules and which therefore missed it at boot. → going, and the
    /// next `ready` comes from the sleeping kernel, or a [`Failure`] (ENODATA) if no image is there: then the kernel remembers the
    /// device as the one to hibernate to.
    Resume {
        /// Swap partition, or what holds the file system of a swap file.
        device: String,
        /// Page of the device at which the swap file begins; 0 for a partition.
        #[serde(default)]
        offset: u64,
    },
    /// Hibernate through /dev/snapshot, image on a raw partition. → going
    SnapshotSave {
        /// Image partition.
        device: String,
        /// What follows the image.
        then: AfterSnapshot,
    },
    /// Resume from what [`Ask::SnapshotSave`] wrote. → going, or a [`Failure`] that says which check refused it.
    SnapshotRestore {
        /// Image partition.
        device: String,
    },

    /// Load the saver kernel with preserved context (A). → [`Answer::Preloaded`]
    Preload {
        /// bzImage.
        kernel: Bulk,
        /// Its initramfs.
        initrd: Bulk,
        /// Memory the saver lives in.
        region: Region,
        /// Its command line; what the jump needs is appended.
        cmdline: String,
    },
    /// Jump into the preloaded kernel (A), or into the one that restored us. → going
    Jump {
        /// Image partition: on return the agent reads there how the saver fared.
        image: Option<String>,
    },
    /// Save A's memory (B). → [`Answer::Saved`]
    SaveImage {
        /// Image partition.
        device: String,
        /// Every disk A used, by kernel name (`vda`): flushed before the image is made valid.
        disks: Vec<String>,
    },
    /// Reset the image's header durably, then jump back to A (B). → going
    JumpBack {
        /// Image partition, if an image was saved.
        image: Option<String>,
    },
    /// Load the image, reset its header durably, jump to A (C). → going, or a [`Failure`] that says which check refused it.
    RestoreImage {
        /// Image partition.
        device: String,
    },
    /// Enter ACPI S4 through /dev/snapshot (B). → going
    EnterS4,

    /// Load a kernel for an ordinary kexec and execute it. → going
    Kexec {
        /// bzImage.
        kernel: Bulk,
        /// Its initramfs.
        initrd: Bulk,
        /// Its command line.
        cmdline: String,
    },
    /// Power off in order: sync, then ACPI S5. → going
    PowerOff,
    /// Reboot in order: sync, then reset. → going
    Reboot,
    /// Panic. → going
    Crash,
}

/// What an agent and its kernel are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// uname -r.
    pub release: String,
    /// uname -v, with the build number.
    pub version: String,
    /// /proc/cmdline.
    pub cmdline: String,
    /// Online processors.
    pub cpus: u32,
    /// MemTotal in KiB.
    pub memory_kib: u64,
    /// Block devices, by kernel name.
    pub disks: Vec<String>,
    /// Modules the agent loaded, in order; empty for a kernel that has everything built in.
    pub modules: u32,
}

/// Kernel messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dmesg {
    /// Of the next message after these.
    pub next: u64,
    /// More are waiting.
    pub more: bool,
    /// Messages were overwritten before they were read.
    pub lost: bool,
    /// `level,microseconds;text`, one a message, continuation lines left out.
    pub lines: Vec<String>,
}

/// What a workload found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadReport {
    /// Which.
    pub workload: Workload,
    /// Units of work done so far (records, sweeps, ticks): it must grow for the workload to be alive.
    pub progress: u64,
    /// What differs from what it must be; empty when clean. At most a few, the first ones.
    pub differences: Vec<String>,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Nothing more to say.
    Done,
    /// Of [`Ask::Identify`].
    Identity(Identity),
    /// Of [`Ask::MemoryMap`].
    MemoryMap {
        /// Ranges there are.
        total: u32,
        /// In ascending order, those after `skip` that fit.
        ranges: Vec<MemoryRange>,
    },
    /// Of the workload requests.
    Workloads(Vec<WorkloadReport>),
    /// File contents.
    Bytes(#[serde(with = "crate::message::base64_bytes")] Vec<u8>),
    /// Text, trailing newline removed.
    Text(String),
    /// Of [`Ask::MakeSwapFile`].
    SwapFile {
        /// Page of the file system's device at which the file begins: what `resume_offset=` takes.
        offset: u64,
    },
    /// Of [`Ask::CopyBulk`].
    Copied {
        /// Bytes.
        len: u64,
        /// CRC-32 (IEEE) of them.
        crc32: u32,
    },
    /// SHA-256 in hexadecimal.
    Hash(String),
    /// Of [`Ask::Run`].
    Ran {
        /// Exit code, or `None` if a signal ended it.
        code: Option<i32>,
        /// That signal.
        signal: Option<i32>,
        /// The last 600 bytes of standard output.
        stdout: String,
        /// The last 600 bytes of standard error.
        stderr: String,
    },
    /// Of [`Ask::Dmesg`].
    Dmesg(Dmesg),
    /// Of [`Ask::Preload`].
    Preloaded {
        /// Segments given to kexec_load(2).
        segments: u32,
        /// Memory of A, in bytes, that the saver sees as /proc/vmcore.
        vmcore_bytes: u64,
        /// Memory of A, in bytes, that is swapped out during the jump.
        swapped_bytes: u64,
    },
    /// Of [`Ask::SaveImage`].
    Saved {
        /// Pages of A.
        pages: u64,
        /// Those that are not zero and stand in the image.
        stored: u64,
        /// Disks that were flushed before the header was made valid.
        flushed: Vec<String>,
        /// Disks A used that this kernel has no driver for. A flushed them itself before the jump.
        unseen: Vec<String>,
        /// How long it took.
        milliseconds: u64,
    },
}

/// Bytes as base64 text.
pub mod base64_bytes {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer};

    /// For `#[serde(with)]`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    /// For `#[serde(with)]`.
    ///
    /// # Errors
    /// If the text is not base64.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame;

    #[test]
    fn a_conversation_as_it_stands_on_the_wire() {
        let session = Session { role: Role::Primary, epoch: 3 };
        let line = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let request = Request {
            id: 7,
            session,
            ask: Ask::SaveImage { device: "/dev/vda3".into(), disks: vec!["vda".into()] },
        };
        let failure = Failure { errno: Some(28), text: "image partition full".into() };
        let reply = FromAgent::Reply { id: 7, session, result: Err(failure) };
        let ready = FromAgent::Ready(Ready {
            session,
            why: ReadyWhy::Return,
            protocol: frame::PROTOCOL_VERSION,
            boottime_ms: 1234,
            monotonic_ms: 1234,
            realtime_ms: 1_700_000_000_500,
            outcome: Some(Outcome { id: 6, result: Ok(Answer::Done) }),
        });
        insta::assert_snapshot!(
            [
                line(frame::encode(&request).unwrap()),
                line(frame::encode(&reply).unwrap()),
                line(frame::encode(&ready).unwrap())
            ]
            .concat()
        );
    }

    #[test]
    fn role_letters_are_read_back() {
        for role in [Role::Primary, Role::Saver, Role::Restorer] {
            assert_eq!(Role::from_letter(&role.letter().to_string()), Some(role));
        }
        assert_eq!(Role::from_letter("AB"), None);
        assert_eq!(Role::from_letter(""), None);
    }
}
