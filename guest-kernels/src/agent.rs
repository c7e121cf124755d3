//! The guest agent: a static x86-64 Linux binary, the first process of every guest.

/// The binary, built from `agent/` together with this library.
pub const BINARY: &[u8] = include_bytes!(env!("KJVM_AGENT"));

#[cfg(test)]
mod tests {
    use super::BINARY;

    #[test]
    fn the_agent_is_a_static_executable() {
        assert_eq!(&BINARY[..5], b"\x7fELF\x02");
        // PT_INTERP (3) would name a dynamic loader, and there is none in an initramfs.
        let first = usize::from(u16::from_le_bytes([BINARY[32], BINARY[33]]));
        let count = usize::from(BINARY[56]);
        let kinds: Vec<u8> = (0..count).map(|number| BINARY[first + number * 56]).collect();
        assert!(kinds.contains(&1) && !kinds.contains(&3), "program headers: {kinds:?}");
    }
}
