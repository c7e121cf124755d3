//! Get Log Page (5.14 in later versions, 5.14.1 here).

use super::ALL_NAMESPACES;
use super::NAMESPACE;
use super::events::ERROR_LOG;
use super::status::Status;
use crate::disk::{Disk, SECTOR};

const HEALTH: u8 = 2;
const FIRMWARE: u8 = 3;
/// Kelvin: it is never hot here.
const TEMPERATURE: u16 = 303;

/// The contents of a log. The caller takes as much as was asked for; what lies beyond reads as zeros.
pub(super) fn page(log: u8, namespace: u32, disk: &Disk) -> Result<Vec<u8>, Status> {
    match log {
        // One entry that says nothing: an error count of 0 means it is not valid.
        ERROR_LOG => Ok(vec![0; 64]),
        HEALTH if matches!(namespace, 0 | NAMESPACE | ALL_NAMESPACES) => Ok(health(disk)),
        HEALTH => Err(Status::InvalidNamespace),
        FIRMWARE => {
            let mut page = vec![0; 512];
            page[0] = 1;
            let revision: Vec<u8> =
                env!("CARGO_PKG_VERSION").bytes().chain(std::iter::repeat(b' ')).take(8).collect();
            page[8..16].copy_from_slice(&revision);
            Ok(page)
        }
        _ => Err(Status::InvalidLog),
    }
}

/// SMART: counts since power-on, since a boot must not depend on what was before it.
fn health(disk: &Disk) -> Vec<u8> {
    let counters = disk.counters();
    let mut page = vec![0; 512];
    page[1..3].copy_from_slice(&TEMPERATURE.to_le_bytes());
    // Spare capacity in percent, and from which on it is too little.
    page[3] = 100;
    page[4] = 10;
    // Thousands of sectors, rounded up.
    let thousands = |sectors: u64| sectors.saturating_mul(SECTOR / 512).div_ceil(1000);
    let fields = [
        (32, thousands(counters.sectors_read)),
        (48, thousands(counters.sectors_written)),
        (64, counters.reads),
        (80, counters.writes),
        // Power cycles.
        (112, 1),
        // Errors of the media.
        (160, counters.failed),
    ];
    for (offset, value) in fields {
        page[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
    }
    page
}
