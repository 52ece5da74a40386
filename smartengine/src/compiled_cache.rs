//! Compiled modules, in memory and on disk, by the SHA-256 of their bytes.
//!
//! Compiling costs a hundred times what loading a compiled module does, and streams come and go.
//! In memory each hash is compiled once, also when many ask at the same time. A file on disk is
//! trusted only when its header names this very engine and machine and its contents have the hash
//! that the header gives; anything else is compiled again and overwritten.
//!
//! ```text
//! magic 8 | engine id length u32 | engine id | SHA-256 of the compiled form 32 | compiled form
//! ```

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use sha2::{Digest, Sha256};

use crate::{LoadError, SmartModule};

const MAGIC: &[u8; 8] = b"THLWGSM1";
/// How many modules stay in memory; those in use stay beyond that.
const MODULES_MAX: usize = 128;
/// How many files stay on disk.
const FILES_MAX: usize = 512;
const FILE_EXTENSION: &str = "compiled";

type Loaded = Result<Arc<SmartModule>, LoadError>;

/// The modules that this process has loaded, refused ones included.
#[derive(Default)]
pub(crate) struct LoadedModules {
    by_hash: Mutex<ByHash>,
}

#[derive(Default)]
struct ByHash {
    slots: HashMap<[u8; 32], Slot>,
    use_count: u64,
}

struct Slot {
    loaded: Arc<OnceLock<Loaded>>,
    last_use: u64,
}

impl LoadedModules {
    /// What `load` made of the module with this hash, now or earlier. A second caller with the
    /// same hash waits for the first.
    pub(crate) fn get_or_load(&self, sha256: [u8; 32], load: impl FnOnce() -> Loaded) -> Loaded {
        let slot = self.slot(sha256);
        slot.get_or_init(load).clone()
    }

    /// What came of the module with this hash, where that is known.
    pub(crate) fn get(&self, sha256: [u8; 32]) -> Option<Loaded> {
        self.slot(sha256).get().cloned()
    }

    fn slot(&self, sha256: [u8; 32]) -> Arc<OnceLock<Loaded>> {
        let mut by_hash = self.by_hash.lock().unwrap_or_else(PoisonError::into_inner);
        by_hash.use_count += 1;
        let last_use = by_hash.use_count;
        if by_hash.slots.len() >= MODULES_MAX && !by_hash.slots.contains_key(&sha256) {
            by_hash.forget_least_used();
        }
        let slot = by_hash.slots.entry(sha256).or_insert_with(|| Slot {
            loaded: Arc::default(),
            last_use,
        });
        slot.last_use = last_use;
        Arc::clone(&slot.loaded)
    }
}

impl ByHash {
    fn forget_least_used(&mut self) {
        let oldest = self.slots.iter().min_by_key(|(_, slot)| slot.last_use);
        if let Some(oldest) = oldest.map(|(hash, _)| *hash) {
            self.slots.remove(&oldest);
        }
    }
}

/// The compiled forms on disk.
pub(crate) struct CompiledFiles {
    directory: PathBuf,
    engine_id: String,
}

impl CompiledFiles {
    /// Keeps compiled forms in `directory`, which is made when missing.
    pub(crate) fn open(directory: PathBuf, engine_id: String) -> io::Result<Self> {
        fs::create_dir_all(&directory)?;
        Ok(Self {
            directory,
            engine_id,
        })
    }

    /// The compiled form of the module with this hash; `None` when there is none that can be
    /// trusted.
    pub(crate) fn read(&self, sha256: &[u8; 32]) -> Option<Vec<u8>> {
        let path = self.path(sha256);
        let file = match fs::read(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "failed to read a compiled SmartModule, compiling it again");
                return None;
            }
        };
        let compiled = self.checked(&file);
        if compiled.is_none() {
            tracing::info!(path = %path.display(), "a compiled SmartModule is damaged or of another version, compiling it again");
        }
        compiled.map(<[u8]>::to_vec)
    }

    fn checked<'a>(&self, file: &'a [u8]) -> Option<&'a [u8]> {
        let rest = file.strip_prefix(MAGIC)?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (engine_id, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let (sha256, compiled) = rest.split_first_chunk::<32>()?;
        let trusted = engine_id == self.engine_id.as_bytes() && *sha256 == hash(compiled);
        trusted.then_some(compiled)
    }

    /// Keeps `compiled`; a failure costs no more than compiling again, so it is logged only.
    pub(crate) fn write(&self, sha256: &[u8; 32], compiled: &[u8]) {
        let path = self.path(sha256);
        if let Err(error) = self.write_file(&path, compiled) {
            tracing::warn!(path = %path.display(), %error, "failed to keep a compiled SmartModule");
        }
        if let Err(error) = self.forget_oldest() {
            tracing::warn!(directory = %self.directory.display(), %error, "failed to tidy the compiled SmartModules");
        }
    }

    fn write_file(&self, path: &Path, compiled: &[u8]) -> io::Result<()> {
        let mut file = Vec::with_capacity(compiled.len() + self.engine_id.len() + 44);
        file.extend_from_slice(MAGIC);
        let id_bytes = u32::try_from(self.engine_id.len()).map_err(io::Error::other)?;
        file.extend_from_slice(&id_bytes.to_le_bytes());
        file.extend_from_slice(self.engine_id.as_bytes());
        file.extend_from_slice(&hash(compiled));
        file.extend_from_slice(compiled);
        // Renamed into place, so that no reader meets half a file; what a crash leaves of one is
        // found by the hash.
        let partial = path.with_extension(format!("partial-{}", std::process::id()));
        fs::write(&partial, file)?;
        fs::rename(&partial, path)
    }

    fn forget_oldest(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let path = entry.path();
            // Others keep files here too, and see to theirs.
            if path
                .extension()
                .is_some_and(|found| found == FILE_EXTENSION)
            {
                files.push((entry.metadata()?.modified()?, path));
            }
        }
        files.sort();
        let excess = files.len().saturating_sub(FILES_MAX);
        for (_, path) in files.drain(..excess) {
            fs::remove_file(path)?;
        }
        Ok(())
    }

    fn path(&self, sha256: &[u8; 32]) -> PathBuf {
        self.directory
            .join(hex(sha256))
            .with_extension(FILE_EXTENSION)
    }
}

/// The SHA-256 of `bytes`.
pub(crate) fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// `bytes` as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string does not fail");
        text
    })
}
