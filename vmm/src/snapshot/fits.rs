//! Whether the parts of a state go together. A state that a machine was in always fits; one that came out of a file may be anything
//! its types allow.

use super::MachineState;

/// Clocks and counters that no run reaches (146 years), so that nothing overflows when it adds to them.
const FAR: u64 = 1 << 62;

/// The first thing that does not fit, for the reader.
pub fn check(state: &MachineState) -> Result<(), String> {
    let MachineState { config, processors, board: _, clock, scheduler, instructions, power: _ } = state;
    config.check().map_err(|error| error.to_string())?;
    let count = processors.len();
    if count != config.processors as usize {
        return Err(format!("{} processors, and the states of {count}", config.processors));
    }
    for (number, cpu) in processors.iter().enumerate() {
        if cpu.identity.apic_id as usize != number || cpu.apic.id() as usize != number {
            return Err(format!("processor {number} has APIC id {}", cpu.apic.id()));
        }
    }
    if scheduler.current >= count {
        return Err(format!("it is the turn of processor {} of {count}", scheduler.current));
    }
    let now = clock.now();
    if now.0 > FAR || clock.world_at(now).0 > FAR || *instructions > FAR {
        return Err(format!("{} ns and {instructions} instructions have passed", now.0));
    }
    Ok(())
}
