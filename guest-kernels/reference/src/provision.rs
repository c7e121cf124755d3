//! Where the kernels of a run come from.

use guest_kernels::provision::{self, Provided, ProvisionError};

use crate::kernels::{Kernel, Kernels};

/// The kernels of a series (`6.12`: a primary and a saver, built if missing) or a distribution's kernel (`stock-6.12`, fetched
/// if missing). `say` is told what takes long.
///
/// # Errors
/// [`ProvisionError`].
pub fn kernels(series: &str, say: &dyn Fn(&str)) -> Result<Kernels, ProvisionError> {
    let kernel = |name: &str| {
        let Provided { name, bzimage, initrd } = provision::kernel(name, say)?;
        Ok::<Kernel, ProvisionError>(Kernel { name, bzimage, initrd })
    };
    if series.starts_with("stock-") {
        return Ok(Kernels { primary: kernel(series)?, saver: None });
    }
    Ok(Kernels {
        primary: kernel(&format!("primary-{series}"))?,
        saver: Some(kernel(&format!("saver-{series}"))?),
    })
}
