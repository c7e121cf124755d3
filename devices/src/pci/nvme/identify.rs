//! Identify (5.15): the controller, its namespace, and lists of them.

use super::NAMESPACE;
use super::events::MOST_REQUESTS;
use super::features::WARNING_TEMPERATURE;
use super::prp::MAX_TRANSFER_EXPONENT;
use super::registers::VERSION;
use super::status::Status;
use crate::disk::Disk;

/// Bytes of any of them.
pub(super) const BYTES: usize = 4096;

/// A power state: what it draws at most in hundredths of a watt, whether commands are served in it, and how long it takes to enter
/// and to leave it in microseconds.
pub(super) struct PowerState {
    centiwatts: u16,
    operational: bool,
    enter: u32,
    leave: u32,
}

/// The power states there are.
pub(super) const POWER_STATES: [PowerState; 2] = [
    PowerState { centiwatts: 600, operational: true, enter: 0, leave: 0 },
    PowerState { centiwatts: 5, operational: false, enter: 2_000, leave: 2_000 },
];

/// Most ranges of a command that manages data sets, and most blocks in one of them.
pub(super) const MAX_RANGES: u8 = 16;
/// Blocks.
pub(super) const MAX_RANGE_BLOCKS: u32 = 64 << 10;

/// Optional: write zeroes, the select field of Get Features; and data set management, if the disk can discard.
const OPTIONAL_COMMANDS: u16 = 1 << 3 | 1 << 4;
const DATA_SET_MANAGEMENT: u16 = 1 << 2;
/// A flush may name all namespaces; and there is a volatile write cache, if the disk has one (VWC).
const FLUSH_ALL: u8 = 0b110;
const WRITE_CACHE: u8 = 1;

struct Page([u8; BYTES]);

impl Page {
    fn new() -> Self {
        Self([0; BYTES])
    }

    fn put(&mut self, offset: usize, bytes: &[u8]) {
        if let Some(place) = self.0.get_mut(offset..offset + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    /// Text, filled up with spaces.
    fn text(&mut self, offset: usize, length: usize, text: &str) {
        let text: Vec<u8> = text.bytes().chain(std::iter::repeat(b' ')).take(length).collect();
        self.put(offset, &text);
    }
}

/// An identifier of the namespace that lasts: made of the serial number.
fn unique(disk: &Disk) -> [u8; 16] {
    let digest = blake3::hash(disk.config().serial().as_bytes());
    let mut unique = [0; 16];
    unique.copy_from_slice(&digest.as_bytes()[..16]);
    unique
}

/// Answers Identify with this CNS and namespace.
pub(super) fn identify(cns: u8, namespace: u32, disk: &Disk) -> Result<[u8; BYTES], Status> {
    let page = match cns {
        0x00 if namespace == NAMESPACE => self::namespace(disk),
        0x00 => return Err(Status::InvalidNamespace),
        0x01 => controller(disk),
        // The active namespaces after this one.
        0x02 if namespace >= 0xffff_fffe => return Err(Status::InvalidNamespace),
        0x02 => {
            let mut page = Page::new();
            if namespace < NAMESPACE {
                page.put(0, &NAMESPACE.to_le_bytes());
            }
            page
        }
        0x03 if namespace == NAMESPACE => {
            // Type 2, a globally unique identifier of 16 bytes.
            let mut page = Page::new();
            page.put(0, &[2, 16, 0, 0]);
            page.put(4, &unique(disk));
            page
        }
        0x03 => return Err(Status::InvalidNamespace),
        // Limits of the command set: most ranges, blocks of a range, blocks of all ranges.
        0x06 => {
            let mut page = Page::new();
            page.put(3, &[MAX_RANGES]);
            page.put(4, &MAX_RANGE_BLOCKS.to_le_bytes());
            page.put(8, &(u64::from(MAX_RANGES) * u64::from(MAX_RANGE_BLOCKS)).to_le_bytes());
            page
        }
        _ => return Err(Status::InvalidField),
    };
    Ok(page.0)
}

fn controller(disk: &Disk) -> Page {
    let mut page = Page::new();
    page.put(0, &super::IDENTITY.vendor.to_le_bytes());
    page.put(2, &super::IDENTITY.subsystem_vendor.to_le_bytes());
    page.text(4, 20, &disk.config().serial());
    page.text(24, 40, "kjvm NVMe disk");
    page.text(64, 8, env!("CARGO_PKG_VERSION"));
    page.put(77, &[MAX_TRANSFER_EXPONENT]);
    page.put(80, &VERSION.to_le_bytes());
    // An I/O controller.
    page.put(111, &[1]);
    // Commands that abort others at the same time, less 1; event requests, less 1.
    page.put(258, &[3, MOST_REQUESTS - 1]);
    // Firmware: one slot, read-only. The log of errors: one entry, counted from 0. Power states, counted from 0.
    page.put(260, &[0b11, 0, 0, POWER_STATES.len() as u8 - 1]);
    page.put(266, &WARNING_TEMPERATURE.to_le_bytes());
    page.put(268, &(WARNING_TEMPERATURE + 10).to_le_bytes());
    // Entries of submission queues have 2^6 bytes, those of completion queues 2^4: at least and at most.
    page.put(512, &[0x66, 0x44]);
    page.put(516, &NAMESPACE.to_le_bytes());
    let disk_config = disk.config();
    let commands = OPTIONAL_COMMANDS | if disk_config.discard { DATA_SET_MANAGEMENT } else { 0 };
    page.put(520, &commands.to_le_bytes());
    page.put(525, &[FLUSH_ALL | if disk_config.has_cache() { WRITE_CACHE } else { 0 }]);
    let name = format!("nqn.2014-08.org.nvmexpress:uuid:{}", uuid(&unique(disk)));
    page.put(768, name.as_bytes());
    for (number, state) in POWER_STATES.iter().enumerate() {
        let at = 2048 + 32 * number;
        page.put(at, &state.centiwatts.to_le_bytes());
        page.put(at + 3, &[if state.operational { 0 } else { 0b10 }]);
        page.put(at + 4, &state.enter.to_le_bytes());
        page.put(at + 8, &state.leave.to_le_bytes());
    }
    page
}

fn namespace(disk: &Disk) -> Page {
    let mut page = Page::new();
    // Size, capacity, utilization: nothing is provisioned thinly.
    for field in [0, 8, 16] {
        page.put(field, &disk.sectors().to_le_bytes());
    }
    // Deallocated blocks read as zeros, also if it was Write Zeroes that deallocated them.
    page.put(33, &[0b1001]);
    // Write-protected.
    page.put(99, &[u8::from(disk.config().read_only)]);
    page.put(104, &unique(disk));
    // The only format: blocks of 2^9 bytes without metadata.
    page.put(130, &[9]);
    page
}

fn uuid(bytes: &[u8; 16]) -> String {
    let hex = |part: &[u8]| part.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (head, node) = bytes.split_at(10);
    format!(
        "{}-{}-{}-{}-{}",
        hex(&head[..4]),
        hex(&head[4..6]),
        hex(&head[6..8]),
        hex(&head[8..10]),
        hex(node)
    )
}
