//! A host's disk: what was written and not synced may be lost with the power, in part or whole.
//!
//! The bytes are in real files of the run's folder, since an SPU reads and sends from files. Beside
//! them is noted how to take back every change that was not synced. When the power goes, chance says
//! how many of a file's last changes are gone, and whether the one before them is half there.
//!
//! A process that runs has the disk by its [`DiskHandle`], which is of no use once the power is gone.

mod file;
mod unsynced;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use thalweg_storage::{LogFile, LogFiles, OpenMode, StdFiles};

use self::file::SimulatedFile;
use self::unsynced::Unsynced;

/// One disk.
#[derive(Debug)]
pub(crate) struct Disk {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    chance: SmallRng,
    /// Counts how often the power came back.
    boot: u64,
    unsynced: BTreeMap<PathBuf, Unsynced>,
    /// How many more bytes it takes; without limit where none is given.
    room_bytes: Option<usize>,
    /// Whether syncs do nothing, and say that they did.
    lies: bool,
    /// Whether syncs fail.
    fails_syncs: bool,
}

/// The disk as one run of the host's process has it.
#[derive(Debug, Clone)]
pub(crate) struct DiskHandle {
    disk: Arc<Disk>,
    boot: u64,
}

impl Disk {
    /// An empty disk without faults, unless it lies: then syncs do nothing.
    #[must_use]
    pub(crate) fn new(seed: u64, lies: bool) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                chance: SmallRng::seed_from_u64(seed),
                boot: 0,
                unsynced: BTreeMap::new(),
                room_bytes: None,
                lies,
                fails_syncs: false,
            }),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nothing panics while it changes the disk")
    }

    /// Ends the process that has the disk: what it does from now on fails.
    pub(crate) fn detach(&self) {
        self.lock().boot += 1;
    }

    /// The disk, for the host's next process.
    pub(crate) fn attach(self: &Arc<Self>) -> DiskHandle {
        DiskHandle {
            disk: Arc::clone(self),
            boot: self.lock().boot,
        }
    }

    /// The power goes: what was not synced may be gone. Says how many files lost something.
    ///
    /// # Errors
    /// When the run's own folder can't be written.
    pub(crate) fn lose_unsynced(&self) -> io::Result<usize> {
        let mut state = self.lock();
        let State {
            chance, unsynced, ..
        } = &mut *state;
        let mut harmed = 0;
        for (path, file) in std::mem::take(unsynced) {
            // A partition that was moved away went with its folder.
            if !path.exists() {
                continue;
            }
            match file.lose(&path, chance) {
                Ok(lost) => harmed += usize::from(lost),
                // Taking back the file's first replacement took the file.
                Err(error) if error.kind() == io::ErrorKind::NotFound => harmed += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(harmed)
    }

    /// Flips a bit of a sealed segment in one of the folders; whether there is one.
    ///
    /// # Errors
    /// When the run's own folder can't be read or written.
    pub(crate) fn flip_bit(&self, folders: &[PathBuf]) -> io::Result<bool> {
        let mut sealed = Vec::new();
        for folder in folders.iter().filter(|folder| folder.exists()) {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                let is_index = path
                    .extension()
                    .is_some_and(|extension| extension == "index");
                let log = path.with_extension("log");
                if is_index && log.metadata().is_ok_and(|log| log.len() > 0) {
                    sealed.push(log);
                }
            }
        }
        sealed.sort();
        let chance = &mut self.lock().chance;
        let Some(path) = sealed.choose(chance) else {
            return Ok(false);
        };
        let mut bytes = fs::read(path)?;
        let position = chance.random_range(0..bytes.len());
        bytes[position] ^= 1 << chance.random_range(0..8);
        fs::write(path, bytes)?;
        Ok(true)
    }

    /// Has room for so many more bytes, or without limit.
    pub(crate) fn set_room(&self, room_bytes: Option<usize>) {
        self.lock().room_bytes = room_bytes;
    }

    /// Has syncs fail, or not any more.
    pub(crate) fn set_fails_syncs(&self, fails: bool) {
        self.lock().fails_syncs = fails;
    }
}

impl DiskHandle {
    /// The disk's state, as long as the process lives.
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.lock();
        if state.boot == self.boot {
            Ok(state)
        } else {
            Err(io::Error::other("the process is dead"))
        }
    }
}

impl LogFiles for DiskHandle {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn LogFile>> {
        let mut state = self.state()?;
        let is_new = mode == OpenMode::Create && !path.exists();
        if is_new && state.room_bytes == Some(0) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = StdFiles.open(path, mode)?;
        if is_new {
            state.unsynced.insert(path.to_owned(), Unsynced::created());
        }
        Ok(Arc::new(SimulatedFile::new(
            path.to_owned(),
            file,
            self.clone(),
        )))
    }

    fn replace(&self, path: &Path, content: &[u8], sync: bool) -> io::Result<()> {
        let mut state = self.state()?;
        if state.room_bytes.is_some_and(|room| room < content.len()) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let before = self.read(path)?;
        if before.is_none() {
            // What is noted is of a file of this name that went with its folder.
            state.unsynced.remove(path);
        }
        StdFiles.replace(path, content, false)?;
        if sync {
            state.unsynced.remove(path);
        } else {
            let file = state.unsynced.entry(path.to_owned()).or_default();
            file.note_replaced(before);
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state()?;
        StdFiles.rename(from, to)?;
        // The journal keeps the order of names; what is in the file goes with it.
        match state.unsynced.remove(from) {
            Some(file) => state.unsynced.insert(to.to_owned(), file),
            None => state.unsynced.remove(to),
        };
        Ok(())
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state()?;
        if state.fails_syncs {
            return Err(io::Error::other("injected: the disk fails to sync"));
        }
        for (file, unsynced) in &mut state.unsynced {
            if file.parent() == Some(path) {
                unsynced.note_name_synced();
            }
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state()?;
        state.unsynced.remove(path);
        StdFiles.remove(path)
    }
}

impl State {
    /// Takes room for a write, or for its beginning.
    fn take_room(&mut self, wanted_bytes: usize) -> io::Result<usize> {
        let Some(room) = &mut self.room_bytes else {
            // Now and then a write is short, as the system may have it.
            let is_short = wanted_bytes > 1 && self.chance.random_ratio(1, 200);
            return Ok(if is_short {
                self.chance.random_range(1..wanted_bytes)
            } else {
                wanted_bytes
            });
        };
        let taken = wanted_bytes.min(*room);
        *room -= taken;
        if taken == 0 && wanted_bytes > 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(taken)
    }
}
