//! What PID 1 does before it listens: file systems, the command line, modules.

use std::fs;
use std::path::Path;

use agent_protocol::message::{Failure, Role, Session};
use nix::mount::{MsFlags, mount};

use crate::failure::{While, failure};

/// What the kernel command line says to the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arguments {
    /// Who we are: `kjvm.role=A`, `B` or `C`, and `kjvm.epoch=`.
    pub session: Session,
    /// The port the host speaks on: `kjvm.agent=`, by default `/dev/ttyS1`.
    pub port: String,
}

impl Arguments {
    /// Reads a command line. Absent arguments have their defaults: role A, epoch 1.
    ///
    /// # Errors
    /// For a value that makes no sense.
    pub fn parse(cmdline: &str) -> Result<Arguments, Failure> {
        let value =
            |name: &str| cmdline.split_whitespace().filter_map(|word| word.strip_prefix(name)).next_back();
        let role = match value("kjvm.role=") {
            None => Role::Primary,
            Some(letter) => Role::from_letter(letter)
                .ok_or_else(|| failure(format!("kjvm.role={letter}: the roles are A, B and C")))?,
        };
        let epoch = match value("kjvm.epoch=") {
            None => 1,
            Some(number) => {
                number.parse().map_err(|_| failure(format!("kjvm.epoch={number}: not a number")))?
            }
        };
        let port = value("kjvm.agent=").map_or("/dev/ttyS1".into(), |port| format!("/dev/{port}"));
        Ok(Arguments { session: Session { role, epoch }, port })
    }
}

const FILE_SYSTEMS: [(&str, &str); 6] = [
    ("devtmpfs", "/dev"),
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("tmpfs", "/run"),
    ("tmpfs", "/tmp"),
    ("debugfs", "/sys/kernel/debug"),
];

/// Mounts what the kernel offers. A kernel without one of the optional file systems (debugfs) goes without.
///
/// # Errors
/// If /dev, /proc or /sys cannot be mounted: nothing works without them.
pub fn mount_file_systems() -> Result<(), Failure> {
    for (fstype, at) in FILE_SYSTEMS {
        // Below /sys directories are the kernel's own.
        if !Path::new(at).exists() {
            let _ = fs::create_dir_all(at);
        }
        let mounted = mount(Some(fstype), at, Some(fstype), MsFlags::empty(), None::<&str>);
        if at.len() <= "/proc".len() && fstype != "tmpfs" {
            mounted.while_doing(|| format!("mounting {fstype} on {at}"))?;
        }
    }
    Ok(())
}

/// Directory of the initramfs with the modules to load, named so that their order is the load order.
const MODULES: &str = "/modules";

/// Loads the modules the initramfs brings for kernels that have disk drivers and file systems as modules. Returns how many.
///
/// # Errors
/// For the first module that does not load: the kernel and the initramfs do not belong together.
pub fn load_modules() -> Result<u32, Failure> {
    let Ok(entries) = fs::read_dir(MODULES) else { return Ok(0) };
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    for path in &paths {
        let doing = || format!("loading {}", path.display());
        let file = fs::File::open(path).while_doing(doing)?;
        match nix::kmod::finit_module(&file, c"", nix::kmod::ModuleInitFlags::empty()) {
            // Hardware or processor feature not there (crc32c_intel on an old processor), or built in after all.
            Ok(()) | Err(nix::errno::Errno::ENODEV | nix::errno::Errno::EEXIST) => {}
            Err(errno) => return Err(errno).while_doing(doing),
        }
    }
    Ok(u32::try_from(paths.len()).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_names_role_epoch_and_port() {
        let arguments =
            Arguments::parse("console=ttyS0 kjvm.role=B kjvm.epoch=7 kjvm.agent=ttyS3\n").unwrap();
        assert_eq!(arguments.session.to_string(), "B7");
        assert_eq!(arguments.port, "/dev/ttyS3");
        let defaults = Arguments::parse("console=ttyS0 quiet").unwrap();
        assert_eq!((defaults.session.to_string(), defaults.port.as_str()), ("A1".into(), "/dev/ttyS1"));
    }

    #[test]
    fn nonsense_is_named() {
        assert!(Arguments::parse("kjvm.role=X").unwrap_err().text.contains("kjvm.role=X"));
        assert!(Arguments::parse("kjvm.epoch=x1").unwrap_err().text.contains("kjvm.epoch=x1"));
    }
}
