//! Requests to whoever runs that leave the machine where it is.

use agent_protocol::message::{Answer, Ask, Failure};

use super::{Lab, PATIENCE, Trouble, unexpected};
use crate::guest::GuestError;
use crate::language::{Device, Step};

const WAKEUPS: &str = "/sys/power/wakeup_count";

impl Lab<'_> {
    pub(super) fn request(&mut self, step: &Step) -> Result<String, Trouble> {
        let ask = match step {
            Step::Wait { nanoseconds } => {
                self.guest.rest(*nanoseconds);
                self.guest.untold()?;
                return Ok(String::new());
            }
            Step::HeedWakeups => return self.heed_wakeups(),
            Step::Run { command } => Ask::Run { argv: command.clone(), timeout_ms: PATIENCE / 2 / 1_000_000 },
            Step::Read { path } => Ask::ReadText { path: path.clone() },
            Step::Write { path, text }
                if ["/sys/", "/proc/", "/dev/"].iter().any(|at| path.starts_with(at)) =>
            {
                Ask::WriteText { path: path.clone(), text: text.clone() }
            }
            Step::Write { path, text } => Ask::WriteFile {
                path: path.clone(),
                offset: None,
                bytes: text.clone().into_bytes(),
                sync: true,
            },
            Step::Sysctl { name, value } => Ask::Sysctl { name: name.clone(), value: value.clone() },
            Step::Mount { device, at, fstype, options } => Ask::Mount {
                device: self.path(device),
                at: at.clone(),
                fstype: fstype.clone(),
                options: options.clone(),
            },
            Step::Unmount { at } => Ask::Unmount { at: at.clone() },
            Step::SwapOn { device } => {
                let priority = match device {
                    Device::Partition(disk, number) => self.priority(*disk, *number),
                    Device::Path(_) => None,
                };
                Ask::SwapOn { device: self.path(device), priority }
            }
            Step::SwapOff { device } => Ask::SwapOff { device: self.path(device) },
            Step::Sync => Ask::Sync,
            Step::FillMemory { left } => Ask::FillMemory { left: *left },
            other => return Err(Trouble::Impossible(format!("`{}` is no request", other.name()))),
        };
        match self.ask(&ask)? {
            Answer::Text(text) => Ok(text),
            Answer::Ran { code: Some(0), stdout, .. } => Ok(stdout.trim_end().to_owned()),
            Answer::Ran { code, signal, stderr, .. } => {
                let text = format!("ended with code {code:?}, signal {signal:?}: {}", stderr.trim_end());
                Err(GuestError::Refused(Failure { errno: None, text }).into())
            }
            _ => Ok(String::new()),
        }
    }

    /// The count of wake events, said back to the kernel: from then on one more stops a sleep.
    fn heed_wakeups(&mut self) -> Result<String, Trouble> {
        match self.ask(&Ask::ReadText { path: WAKEUPS.into() })? {
            Answer::Text(count) => {
                self.ask(&Ask::WriteText { path: WAKEUPS.into(), text: count.clone() })?;
                Ok(format!("{count} so far"))
            }
            other => Err(unexpected("a count of wake events", format!("{other:?}"))),
        }
    }

    fn path(&self, device: &Device) -> String {
        match device {
            Device::Partition(disk, number) => self.device(*disk, *number),
            Device::Path(path) => path.clone(),
        }
    }

    fn priority(&self, disk: usize, number: u32) -> Option<u16> {
        let partitions = &self.scenario.disks.get(disk)?.partitions;
        partitions.get(number.checked_sub(1)? as usize)?.priority
    }
}
