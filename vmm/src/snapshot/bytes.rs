//! Snapshots as bytes.

use std::io::{Read, Write};
use std::sync::Arc;

use devices::disk::{Base, BaseIdentity};
use ram::{MAX_BYTES, PAGE_SIZE};

use super::header::{self, Header, PAGE_RECORD};
use super::pages::{Pages, ZERO};
use super::{MachineState, Snapshot, SnapshotError, fits};

/// How large a snapshot may say it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of state, most of which is what disks changed.
    pub state: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: 16 << 30, state: 4 << 30 }
    }
}

/// zstd's own default: twice as small as the fastest, half as fast.
const LEVEL: i32 = 3;

impl Snapshot {
    /// Writes it. Equal snapshots are equal bytes.
    ///
    /// # Errors
    /// [`SnapshotError::Host`], and [`SnapshotError::Base`] if a base has to be read for its identity and cannot be.
    pub fn write_to(&self, mut output: impl Write) -> Result<(), SnapshotError> {
        name_bases(&self.state)?;
        let state = postcard::to_stdvec(&self.state).map_err(|error| contradiction(&error))?;
        let pages = self.memory.iter().count() as u64;
        let length = (state.len() as u64).saturating_add(pages.saturating_mul(PAGE_RECORD));
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), LEVEL)?;
        encoder.set_pledged_src_size(Some(length))?;
        encoder.write_all(&state)?;
        for (number, page) in self.memory.iter() {
            let number = u32::try_from(number).map_err(|error| contradiction(&error))?;
            encoder.write_all(&number.to_le_bytes())?;
            encoder.write_all(page.as_slice())?;
        }
        let body = encoder.finish()?;
        let header = Header {
            memory: self.state.config.memory,
            state: state.len() as u64,
            pages,
            body: body.len() as u64,
        };
        output.write_all(&header.to_bytes(&body))?;
        output.write_all(&body)?;
        output.flush()?;
        Ok(())
    }

    /// Reads one, to its end and that of the input. Of disks that lie on a base only its identity was written: `base` is asked for
    /// each, by the disk's id, and what it gives is compared.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn read_from(
        mut input: impl Read,
        limits: Limits,
        base: impl FnMut(u8, BaseIdentity) -> Option<Arc<dyn Base>>,
    ) -> Result<Arc<Self>, SnapshotError> {
        let mut head = Vec::new();
        input.by_ref().take(header::BYTES as u64).read_to_end(&mut head)?;
        let header = Header::parse(&head)?;
        check_sizes(header, limits)?;
        let mut body = Vec::new();
        input.by_ref().take(header.body).read_to_end(&mut body)?;
        let announced = header.body.saturating_add(header::BYTES as u64);
        if (body.len() as u64) < header.body {
            return Err(SnapshotError::Truncated { there: (head.len() + body.len()) as u64, announced });
        }
        if input.read(&mut [0])? != 0 {
            return Err(SnapshotError::Trailing(announced));
        }
        if !header::is_intact(&head, &body) {
            return Err(SnapshotError::Checksum);
        }
        let mut snapshot = unpack(header, &body)?;
        fits::check(&snapshot.state).map_err(SnapshotError::Contradiction)?;
        attach_bases(&mut snapshot.state, base)?;
        Ok(Arc::new(snapshot))
    }
}

fn contradiction(error: &impl ToString) -> SnapshotError {
    SnapshotError::Contradiction(error.to_string())
}

fn check_sizes(header: Header, limits: Limits) -> Result<(), SnapshotError> {
    let Header { memory, state, pages, body } = header;
    let too_large = |what, bytes, most| Err(SnapshotError::TooLarge { what, bytes, most });
    let most = limits.memory.min(MAX_BYTES);
    if memory > most {
        return too_large("memory", memory, most);
    }
    if state > limits.state {
        return too_large("state", state, limits.state);
    }
    if memory == 0 || !memory.is_multiple_of(PAGE_SIZE) || pages > memory / PAGE_SIZE {
        return Err(SnapshotError::Contradiction(format!("{pages} pages in {memory} bytes of memory")));
    }
    // What does not compress grows a little.
    let length = state + pages * PAGE_RECORD;
    let most = length + length / 128 + 4096;
    if body > most { too_large("body", body, most) } else { Ok(()) }
}

/// Takes the body apart. Never unpacks more than the header says.
fn unpack(header: Header, body: &[u8]) -> Result<Snapshot, SnapshotError> {
    let wrong = |text: String| SnapshotError::Contradiction(text);
    let mut decoder = zstd::stream::read::Decoder::with_buffer(body)?.single_frame();
    let broken = |error: std::io::Error| contradiction(&format!("its body does not unpack: {error}"));
    let mut state = Vec::new();
    decoder.by_ref().take(header.state).read_to_end(&mut state).map_err(broken)?;
    let (state, rest) = postcard::take_from_bytes::<MachineState>(&state)
        .map_err(|error| wrong(format!("its state cannot be decoded: {error}")))?;
    if !rest.is_empty() {
        return Err(wrong(format!("{} bytes follow its state", rest.len())));
    }
    if state.config.memory != header.memory {
        return Err(wrong(format!("{} bytes of memory, and then {}", header.memory, state.config.memory)));
    }
    let (mut memory, mut next) = (Pages::default(), 0);
    let count = header.memory / PAGE_SIZE;
    for index in 0..header.pages {
        let (mut number, mut page) = ([0; 4], ZERO);
        decoder.read_exact(&mut number).and_then(|()| decoder.read_exact(&mut page)).map_err(broken)?;
        let number = u64::from(u32::from_le_bytes(number));
        if number < next || number >= count {
            return Err(wrong(format!(
                "page {number} at place {index}, where only {next} to {count} can be"
            )));
        }
        if page == ZERO {
            return Err(wrong(format!("page {number} is there and all zeros")));
        }
        memory.set(number as usize, Some(Arc::new(page)));
        next = number + 1;
    }
    let unpacked_all = decoder.read(&mut [0]).map_err(broken)? == 0;
    if !unpacked_all || !decoder.finish().is_empty() {
        return Err(wrong("its body is longer than its header says".into()));
    }
    Ok(Snapshot { state, memory })
}

/// Computes the identities of bases, which serialization needs, where an error can be told.
fn name_bases(state: &MachineState) -> Result<(), SnapshotError> {
    for disk in state.board.pci.disks() {
        let id = disk.config().id;
        if let Some(base) = disk.media().base() {
            base.identity().map_err(|error| SnapshotError::Base { disk: id, error })?;
        }
    }
    Ok(())
}

fn attach_bases(
    state: &mut MachineState,
    mut give: impl FnMut(u8, BaseIdentity) -> Option<Arc<dyn Base>>,
) -> Result<(), SnapshotError> {
    for disk in state.board.pci.disks_mut() {
        let id = disk.config().id;
        let Some(base) = disk.media().base() else { continue };
        let wrong = |error| SnapshotError::Base { disk: id, error };
        let identity = base.identity().map_err(wrong)?;
        let given = give(id, identity).ok_or(SnapshotError::MissingBase { disk: id, identity })?;
        disk.attach(&given).map_err(wrong)?;
    }
    Ok(())
}
