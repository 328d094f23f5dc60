//! A disk in memory that can lose power: it knows of each file what was synced and what was not.
//!
//! After a cut each sector of 512 bytes holds any one of the contents it has had since its file's last
//! sync, whatever the others hold: so writes are lost, reordered and torn. A file that was removed
//! without a sync of its folder may be back; one that was never synced may be missing.

use std::collections::HashMap;

use super::random::Random;

/// What a disk writes whole.
const SECTOR_SIZE: usize = 512;

/// What goes wrong on a disk with power.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The next sync fails, and only that: what it was to keep is dropped, as Linux may do.
    Sync,
    /// No write finds room that makes a file longer.
    Full,
}

/// Why the disk did not do something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It has no power.
    Off,
    /// A sync failed.
    Sync,
    /// It has no room.
    Full,
    /// There is no such file.
    Missing,
}

/// The disk.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    files: HashMap<String, File>,
    removed: HashMap<String, File>,
    /// Writes, truncations, removals and syncs so far: the boundaries at which power may go.
    pub step_count: u64,
    /// The boundary at which it goes.
    pub cut_at: Option<u64>,
    /// What goes wrong before that.
    pub fault: Option<Fault>,
}

#[derive(Clone, Debug, Default)]
struct File {
    /// As the process sees it.
    content: Vec<u8>,
    /// As it surely is on the disk; `None` when not even its name is.
    synced: Option<Vec<u8>>,
    /// Since then, oldest first.
    changes: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Truncate { size: usize },
}

impl Disk {
    /// Whether it has no power any more.
    pub fn is_off(&self) -> bool {
        self.cut_at.is_some_and(|cut_at| self.step_count >= cut_at)
    }

    fn step(&mut self) -> Result<(), Refusal> {
        if self.is_off() {
            return Err(Refusal::Off);
        }
        self.step_count += 1;
        Ok(())
    }

    fn file(&mut self, name: &str) -> Result<&mut File, Refusal> {
        if self.is_off() {
            return Err(Refusal::Off);
        }
        self.files.get_mut(name).ok_or(Refusal::Missing)
    }

    /// Makes the file if it is missing and `creates` says so.
    pub fn open(&mut self, name: &str, creates: bool) -> Result<(), Refusal> {
        if creates && !self.is_off() {
            self.files.entry(name.to_owned()).or_default();
        }
        self.file(name).map(drop)
    }

    /// Whether there is such a file.
    pub fn has(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    /// The file's size.
    pub fn size(&mut self, name: &str) -> Result<usize, Refusal> {
        Ok(self.file(name)?.content.len())
    }

    /// Fills `bytes` from the file; how many there were.
    pub fn read(&mut self, name: &str, at: usize, bytes: &mut [u8]) -> Result<usize, Refusal> {
        let content = &self.file(name)?.content;
        let found = content.get(at..).unwrap_or_default();
        let count = found.len().min(bytes.len());
        bytes[..count].copy_from_slice(&found[..count]);
        Ok(count)
    }

    /// Writes, seen by the process at once.
    pub fn write(&mut self, name: &str, at: usize, bytes: &[u8]) -> Result<(), Refusal> {
        self.step()?;
        let is_full = self.fault == Some(Fault::Full);
        let file = self.file(name)?;
        let end = at + bytes.len();
        if end > file.content.len() {
            if is_full {
                return Err(Refusal::Full);
            }
            file.content.resize(end, 0);
        }
        file.content[at..end].copy_from_slice(bytes);
        file.changes.push(Change::Write { at, bytes: bytes.to_vec() });
        Ok(())
    }

    /// Cuts the file to `size`.
    pub fn truncate(&mut self, name: &str, size: usize) -> Result<(), Refusal> {
        self.step()?;
        let file = self.file(name)?;
        file.content.truncate(size);
        file.changes.push(Change::Truncate { size });
        Ok(())
    }

    /// Makes the file's content and name last.
    pub fn sync(&mut self, name: &str) -> Result<(), Refusal> {
        self.step()?;
        let fails = self.fault == Some(Fault::Sync);
        let file = self.file(name)?;
        let changes = std::mem::take(&mut file.changes);
        if fails {
            self.fault = None;
            return Err(Refusal::Sync);
        }
        // Not the content: that may hold what an earlier sync has failed to write and dropped.
        let synced = file.synced.get_or_insert_default();
        for change in &changes {
            change.apply(synced, |_sector| true);
        }
        Ok(())
    }

    /// Removes the file; for good if the folder is synced too.
    pub fn remove(&mut self, name: &str, syncs_folder: bool) -> Result<(), Refusal> {
        self.step()?;
        let file = self.files.remove(name).ok_or(Refusal::Missing)?;
        if !syncs_folder {
            self.removed.insert(name.to_owned(), file);
        }
        Ok(())
    }

    /// What is found when the power is back.
    pub fn after_cut(&self, random: &mut Random) -> Disk {
        let mut found = Disk::default();
        let removed = self.removed.iter().filter(|(name, _)| !self.files.contains_key(*name));
        let removed: Vec<_> = removed.filter(|_| random.below(2) == 0).collect();
        for (name, file) in self.files.iter().chain(removed) {
            if file.synced.is_some() || random.below(2) == 0 {
                let content = file.after_cut(random);
                let synced = Some(content.clone());
                found.files.insert(name.clone(), File { content, synced, changes: Vec::new() });
            }
        }
        found
    }
}

impl File {
    fn after_cut(&self, random: &mut Random) -> Vec<u8> {
        let mut content = self.synced.clone().unwrap_or_default();
        // Of 4 cuts one keeps nothing that was not synced, one all of it, the others any part.
        let luck = random.below(4);
        let sector_count = self.sector_count(content.len());
        // For each sector, how many of the changes have reached it.
        let reached: Vec<usize> = (0..sector_count)
            .map(|_| match luck {
                0 => 0,
                1 => self.changes.len(),
                _ => random.below(self.changes.len() + 1),
            })
            .collect();
        for (index, change) in self.changes.iter().enumerate() {
            change.apply(&mut content, |sector| reached[sector] > index);
        }
        content
    }

    fn sector_count(&self, synced_size: usize) -> usize {
        let end = |change: &Change| match change {
            Change::Write { at, bytes } => at + bytes.len(),
            Change::Truncate { .. } => 0,
        };
        let size = self.changes.iter().map(end).max().unwrap_or(0).max(synced_size);
        size.div_ceil(SECTOR_SIZE) + 1
    }
}

impl Change {
    /// Applies the parts in sectors that it has reached.
    fn apply(&self, content: &mut Vec<u8>, reaches: impl Fn(usize) -> bool) {
        match self {
            Change::Truncate { size } => {
                if reaches(size / SECTOR_SIZE) {
                    content.truncate(*size);
                }
            }
            Change::Write { at, bytes } => {
                let mut from = 0;
                while from < bytes.len() {
                    let sector = (at + from) / SECTOR_SIZE;
                    let to = ((sector + 1) * SECTOR_SIZE - at).min(bytes.len());
                    if reaches(sector) {
                        content.resize(content.len().max(at + to), 0);
                        content[at + from..at + to].copy_from_slice(&bytes[from..to]);
                    }
                    from = to;
                }
            }
        }
    }
}
