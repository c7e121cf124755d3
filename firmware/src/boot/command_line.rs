//! The command line, as bytes in memory.

use super::BootError;
use crate::blob::Blob;
use crate::layout;

/// `COMMAND_LINE_SIZE` of Linux on x86 without its NUL, for kernels that do not tell theirs.
pub const LINUX_MOST: usize = 2047;

/// What fits where it is put.
const PLACE: usize = 0xffff;

/// The command line with the NUL that ends it. `most`: bytes that the kernel reads, without the NUL.
pub fn blob(command_line: &str, most: usize) -> Result<Blob<'static>, BootError> {
    let most = most.min(PLACE);
    if command_line.len() > most {
        return Err(BootError::CommandLineLong { len: command_line.len(), most });
    }
    if let Some(at) = command_line.bytes().position(|byte| byte == 0) {
        return Err(BootError::CommandLineNul(at));
    }
    let mut bytes = command_line.as_bytes().to_vec();
    bytes.push(0);
    Ok(Blob::new("the command line", layout::COMMAND_LINE, bytes))
}
