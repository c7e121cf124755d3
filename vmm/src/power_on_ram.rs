//! What is in RAM when power comes on.

use ram::{GuestRam, PAGE_SIZE, RamError};

use crate::config::{Config, RamAtPowerOn};

const WORDS: usize = PAGE_SIZE as usize / 8;

/// The memory of a machine whose power comes on.
pub fn ram(config: &Config) -> Result<GuestRam, RamError> {
    let ram = GuestRam::new(config.memory)?;
    if config.ram_at_power_on == RamAtPowerOn::Seeded {
        fill(&ram, config.seed);
    }
    Ok(ram)
}

/// Noise: one page of it, and in each page all words are changed by a number of the page's own. Filling is limited by the host's page
/// faults, so there is nothing to gain by better noise, or by worse.
fn fill(ram: &GuestRam, seed: u64) {
    let mut noise = [0; WORDS];
    for (at, word) in (0u64..).zip(&mut noise) {
        *word = mix(seed.wrapping_add(at));
    }
    let mut page = [0; PAGE_SIZE as usize];
    for frame in ram.frames() {
        let own = mix(!seed ^ frame);
        for (bytes, word) in page.chunks_exact_mut(8).zip(&noise) {
            bytes.copy_from_slice(&(word ^ own).to_le_bytes());
        }
        // Every frame named is memory: there is nothing to fail.
        let _ = ram.write(frame * PAGE_SIZE, &page);
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): neighbours have nothing in common.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(config: &Config, at: u64) -> Vec<u8> {
        let mut page = vec![0; PAGE_SIZE as usize];
        ram(config).unwrap().read(at, &mut page).unwrap();
        page
    }

    #[test]
    fn noise_follows_from_the_seed_and_no_two_pages_are_equal() {
        let seeded = |seed| Config {
            memory: 4 << 20,
            seed,
            ram_at_power_on: RamAtPowerOn::Seeded,
            ..Config::default()
        };
        assert_eq!(page(&seeded(1), 0x5000), page(&seeded(1), 0x5000));
        assert_ne!(page(&seeded(1), 0x5000), page(&seeded(2), 0x5000));
        assert_ne!(page(&seeded(1), 0x5000), page(&seeded(1), 0x3f_f000));
        let ones: u32 = page(&seeded(1), 0).iter().map(|byte| byte.count_ones()).sum();
        assert!((15_000..18_000).contains(&ones), "{ones} of 32768");
        let zero = Config { memory: 4 << 20, ..Config::default() };
        assert_eq!(page(&zero, 0x5000), vec![0; 4096]);
    }
}
