//! Port 0x80: firmware shows its progress there, and Linux writes to it to wait a moment.

use serde::{Deserialize, Serialize};

use crate::{Context, Device, Reset};

/// The port.
pub const PORT: u16 = 0x80;

/// What was last shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Post {
    code: u8,
}

impl Post {
    /// The code last written: where firmware or a kernel got to.
    pub fn code(self) -> u8 {
        self.code
    }
}

impl Device for Post {
    fn read(&mut self, _: u64, size: u8, _: &mut Context) -> u64 {
        crate::register::read(1, PORT.into(), size, |port| {
            if port == u64::from(PORT) { self.code.into() } else { u64::MAX }
        })
    }

    fn write(&mut self, _: u64, _: u8, value: u64, _: &mut Context) {
        self.code = value as u8;
    }

    fn reset(&mut self, _: Reset, _: &mut Context) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Bench;

    #[test]
    fn it_shows_what_was_written() {
        let (mut bench, mut post) = (Bench::new(), Post::default());
        bench.outb(&mut post, PORT, 0x5A);
        assert_eq!((bench.inb(&mut post, PORT), post.code()), (0x5A, 0x5A));
        assert_eq!(post.read(PORT.into(), 2, &mut bench.cx()), 0xFF5A);
    }
}
