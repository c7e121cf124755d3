//! A snapshot's bytes taken apart and put together again, as `docs/snapshots.md` describes them: for files that no kjvm wrote.

/// The parts.
#[derive(Clone)]
pub struct Parts {
    /// Bytes 0..120.
    pub header: Vec<u8>,
    /// The state, unpacked.
    pub state: Vec<u8>,
    /// Each page with its number, unpacked.
    pub pages: Vec<u8>,
}

const HEADER: usize = 120;
/// Where the header says how long things are.
pub const MEMORY: usize = 56;
pub const STATE: usize = 64;
pub const PAGES: usize = 72;
pub const BODY: usize = 80;

impl Parts {
    pub fn of(bytes: &[u8]) -> Self {
        let (header, body) = bytes.split_at(HEADER);
        let mut state = zstd::decode_all(body).unwrap();
        let length = u64::from_le_bytes(header[STATE..STATE + 8].try_into().unwrap());
        let pages = state.split_off(length as usize);
        Self { header: header.to_vec(), state, pages }
    }

    pub fn set(&mut self, field: usize, value: u64) {
        self.header[field..field + 8].copy_from_slice(&value.to_le_bytes());
    }

    /// With true lengths and a right checksum.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut parts = self.clone();
        parts.set(STATE, self.state.len() as u64);
        parts.set(PAGES, self.pages.len() as u64 / 4100);
        parts.lying()
    }

    /// With the lengths that the header says, but for that of the body, and a right checksum.
    pub fn lying(&self) -> Vec<u8> {
        self.around(&zstd::encode_all(&[self.state.as_slice(), &self.pages].concat()[..], 1).unwrap())
    }

    /// The same around any body.
    pub fn around(&self, body: &[u8]) -> Vec<u8> {
        let mut parts = self.clone();
        parts.set(BODY, body.len() as u64);
        let mut hasher = blake3::Hasher::new();
        hasher.update(&parts.header[..88]).update(body);
        parts.header[88..].copy_from_slice(hasher.finalize().as_bytes());
        [&parts.header, body].concat()
    }
}
