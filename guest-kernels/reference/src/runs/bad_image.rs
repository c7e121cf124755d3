//! Damaged images are refused, each by the check that is there for it, and A is never entered.

use agent_protocol::image::HEADER_LEN;
use agent_protocol::message::{ReadyWhy, Role};

use crate::error::RunError;
use crate::machine::Machine;

fn image_of_a_sleeping_primary(machine: &mut Machine) -> Result<u64, RunError> {
    machine.start_primary()?;
    machine.preload()?;
    machine.jump()?;
    machine.save()?;
    machine.power_off(Role::Saver)?;
    let header = machine.disk.image_header()?;
    header.map(|header| header.data_offset()).map_err(|error| RunError::Check(error.to_string()))
}

fn flip(bytes: &mut [u8]) {
    for byte in bytes {
        *byte ^= 0x10;
    }
}

pub fn refused(machine: &mut Machine) -> Result<(), RunError> {
    let data = image_of_a_sleeping_primary(machine)?;
    for (place, reason) in [
        (data + 100 * 4096 + 17, "image page checksum"),
        (4096 + 40, "image index checksum"),
        (33, "image header checksum"),
        (3, "image header magic"),
    ] {
        machine.disk.damage_image(place, 1, flip)?;
        machine.refuse_restore(reason)?;
        machine.disk.damage_image(place, 1, flip)?;
    }
    // Torn: the second half of the sector is still that of an earlier write.
    let mut old = [0; HEADER_LEN / 2];
    machine.disk.damage_image(HEADER_LEN as u64 / 2, HEADER_LEN / 2, |half| old.swap_with_slice(half))?;
    machine.refuse_restore("image header checksum")?;
    machine.disk.damage_image(HEADER_LEN as u64 / 2, HEADER_LEN / 2, |half| half.copy_from_slice(&old))?;
    // Whole again, and refusing has not consumed it.
    machine.cold_restore()?;
    machine.finish_consumed()
}

pub fn cold_boot(machine: &mut Machine) -> Result<(), RunError> {
    let data = image_of_a_sleeping_primary(machine)?;
    machine.disk.damage_image(data, 1, flip)?;
    machine.refuse_restore("image page checksum")?;
    // The session is lost; what it had synced is not.
    machine.expect_clean_file_system()?;
    machine.power_on(Role::Primary, ReadyWhy::Boot)?;
    machine.take_up_disk()?;
    machine.finish()
}
