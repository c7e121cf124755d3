//! The guest's console on our terminal.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::termios::{self, LocalFlags, SetArg, Termios};

use crate::interrupts;

/// Standard input without line editing and echo, as a serial terminal is: what is typed belongs to the guest. Everything is as before
/// when this is dropped. Ctrl-C stays ours.
pub struct Terminal {
    before: Option<(Termios, OFlag)>,
}

impl Terminal {
    /// Takes the terminal over, if standard input is one.
    pub fn take_over() -> Self {
        interrupts::catch();
        let stdin = io::stdin();
        let Ok(before) = termios::tcgetattr(stdin.as_fd()) else { return Self { before: None } };
        let mut raw = before.clone();
        raw.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        let flags = fcntl(stdin.as_fd(), FcntlArg::F_GETFL).map_or(OFlag::empty(), OFlag::from_bits_truncate);
        let _ = termios::tcsetattr(stdin.as_fd(), SetArg::TCSANOW, &raw);
        let _ = fcntl(stdin.as_fd(), FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK));
        Self { before: Some((before, flags)) }
    }

    /// What was typed since the last call. Nothing unless standard input is a terminal.
    pub fn typed(&self) -> Vec<u8> {
        let mut bytes = [0; 256];
        match (&self.before, io::stdin().lock().read(&mut bytes)) {
            (Some(_), Ok(got)) => bytes.get(..got).unwrap_or_default().to_vec(),
            _ => Vec::new(),
        }
    }

    /// Whether the user wants to leave.
    pub fn interrupted(&self) -> bool {
        interrupts::came()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = io::stdout().flush();
        if let Some((before, flags)) = &self.before {
            let stdin = io::stdin();
            let _ = termios::tcsetattr(stdin.as_fd(), SetArg::TCSANOW, before);
            let _ = fcntl(stdin.as_fd(), FcntlArg::F_SETFL(*flags));
        }
    }
}
