//! The kernel's own ways to sleep: suspend, hibernation, resume from its image, the RTC alarm.

use std::fs::File;
use std::os::linux::fs::MetadataExt;
use std::os::unix::fs::FileExt;

use agent_protocol::message::{Answer, Failure, HibernateMode, PmTest, SuspendState};
use nix::errno::Errno;
use nix::sys::stat::{major, minor};

use crate::failure::{While, failure, failure_with};
use crate::{disks, text};

const ALARM: &str = "/sys/class/rtc/rtc0/wakealarm";
const STATE: &str = "/sys/power/state";

/// Arms the RTC alarm, or clears it with 0 seconds.
///
/// # Errors
/// If there is no RTC that can wake.
pub fn set_alarm(seconds: u32) -> Result<(), Failure> {
    // An armed alarm refuses another one (EBUSY).
    text::write(ALARM, "0")?;
    if seconds == 0 { Ok(()) } else { text::write(ALARM, &format!("+{seconds}")) }
}

/// Selects a pm_test level for one transition.
struct TestLevel;

impl TestLevel {
    const FILE: &str = "/sys/power/pm_test";

    fn select(level: Option<PmTest>) -> Result<TestLevel, Failure> {
        match level {
            Some(level) => text::write(TestLevel::FILE, level.name())?,
            // A kernel without CONFIG_PM_DEBUG has no levels and needs none.
            None if std::path::Path::new(TestLevel::FILE).exists() => text::write(TestLevel::FILE, "none")?,
            None => {}
        }
        Ok(TestLevel)
    }
}

impl Drop for TestLevel {
    fn drop(&mut self) {
        let _ = text::write(TestLevel::FILE, "none");
    }
}

/// Suspends to RAM or to idle; returns after the wake.
///
/// # Errors
/// If the kernel refuses, with its errno.
pub fn suspend(state: SuspendState, level: Option<PmTest>) -> Result<Answer, Failure> {
    let _level = TestLevel::select(level)?;
    match state {
        SuspendState::Mem => {
            text::write("/sys/power/mem_sleep", "deep")?;
            text::write(STATE, "mem")?;
        }
        SuspendState::Freeze => text::write(STATE, "freeze")?,
    }
    Ok(Answer::Done)
}

/// Whether the kernel can do this at all: checked before the machine leaves.
///
/// # Errors
/// [`Failure`] with EOPNOTSUPP that names the file and what it offers.
pub fn check_offer(file: &str, word: &str) -> Result<(), Failure> {
    let offer = text::read(file)?;
    if offer.split_whitespace().any(|offered| offered.trim_matches(['[', ']']) == word) {
        Ok(())
    } else {
        Err(failure_with(Errno::EOPNOTSUPP, format!("{file} offers {offer:?}, not {word:?}")))
    }
}

/// Checks what [`suspend`] needs.
///
/// # Errors
/// Those of [`check_offer`].
pub fn check_suspend(state: SuspendState, level: Option<PmTest>) -> Result<(), Failure> {
    match state {
        SuspendState::Mem => {
            check_offer(STATE, "mem")?;
            check_offer("/sys/power/mem_sleep", "deep")?;
        }
        SuspendState::Freeze => check_offer(STATE, "freeze")?,
    }
    level.map_or(Ok(()), |level| check_offer(TestLevel::FILE, level.name()))
}

/// Hibernates by the kernel's own means; returns in the resumed kernel.
///
/// # Errors
/// If the kernel refuses, with its errno.
pub fn hibernate(mode: HibernateMode, level: Option<PmTest>) -> Result<Answer, Failure> {
    let _level = TestLevel::select(level)?;
    text::write("/sys/power/disk", mode.name())?;
    text::write(STATE, "disk")?;
    Ok(Answer::Done)
}

/// Checks what [`hibernate`] needs.
///
/// # Errors
/// Those of [`check_offer`].
pub fn check_hibernate(mode: HibernateMode, level: Option<PmTest>) -> Result<(), Failure> {
    check_offer(STATE, "disk")?;
    check_offer("/sys/power/disk", mode.name())?;
    level.map_or(Ok(()), |level| check_offer(TestLevel::FILE, level.name()))
}

/// `major:minor` of a block device.
fn device_number(device: &str) -> Result<String, Failure> {
    let number = std::fs::metadata(device).while_doing(|| format!("looking up {device}"))?.st_rdev();
    Ok(format!("{}:{}", major(number), minor(number)))
}

/// Tells the kernel its resume device, which is also where it hibernates to. Fails with ENODATA if no image is there; otherwise
/// [`resume`] will take the machine away.
///
/// # Errors
/// As said, or those of the device.
pub fn prepare_resume(device: &str, offset: u64) -> Result<(), Failure> {
    const PAGE: u64 = 4096;
    let mut page = [0; PAGE as usize];
    let reading = || format!("reading the swap header of {device}");
    disks::appear(device);
    let header = offset.saturating_mul(PAGE);
    File::open(device).and_then(|file| file.read_exact_at(&mut page, header)).while_doing(reading)?;
    text::write("/sys/power/resume_offset", &offset.to_string())?;
    if page.ends_with(b"S1SUSPEND\0") {
        return Ok(());
    }
    // The kernel finds no image either, but remembers the device.
    text::write("/sys/power/resume", &device_number(device)?)?;
    Err(failure_with(Errno::ENODATA, format!("{device} holds no hibernation image")))
}

/// Resumes from the image on `device`. Returns only if the kernel refused it.
///
/// # Errors
/// Always: what is left to say is that nothing happened.
pub fn resume(device: &str) -> Result<Answer, Failure> {
    text::write("/sys/power/resume", &device_number(device)?)?;
    Err(failure(format!("the kernel refused the image on {device}; its log says why")))
}
