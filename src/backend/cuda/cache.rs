//! Compiled kernels on disk, shared by processes: bounded, written whole or not at all, and whatever is wrong with a file, it is only compiled again.

use super::compile::{Arch, Form, options};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// First bytes of an entry; the number changes with the format.
const MAGIC: &[u8; 8] = b"NDCUDA01";
/// Bytes that the folder may hold.
const LIMIT: u64 = 256 << 20;
/// Age at which a temporary file is nobody's, and an entry's time of use is written anew.
const STALE: Duration = Duration::from_secs(3600);

/// What an entry is for: everything that changes the code.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// The kernel's text without the headers, whose hash is part of the key.
    pub source: &'a str,
    /// The device's architecture.
    pub arch: Arch,
    /// Machine code or PTX.
    pub form: Form,
}

/// A folder of entries.
#[derive(Debug)]
pub struct Cache {
    folder: Option<PathBuf>,
    limit: u64,
    /// Bytes written since the folder was last swept, by us.
    unswept: AtomicU64,
}

impl Cache {
    /// The cache in `NDCUDA_CACHE_DIR` or the user's own; `NDCUDA_CACHE_DIR=` (empty) turns it off.
    pub fn from_environment() -> Cache {
        let variable = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let folder = match std::env::var_os("NDCUDA_CACHE_DIR") {
            Some(given) => Some(PathBuf::from(given)).filter(|p| !p.as_os_str().is_empty()),
            None => variable("XDG_CACHE_HOME")
                .or_else(|| Some(variable("HOME")?.join(".cache")))
                .or_else(|| variable("LOCALAPPDATA"))
                .map(|p| p.join("ndcuda")),
        };
        Cache::new(folder, LIMIT)
    }

    fn new(folder: Option<PathBuf>, limit: u64) -> Cache {
        // The first entry sweeps.
        Cache { folder, limit, unswept: limit.into() }
    }

    /// Where it is, for people.
    pub fn describe(&self) -> String {
        self.folder.as_ref().map_or("off".into(), |f| f.display().to_string())
    }

    /// The code kept for a key, if it is whole and for just this key.
    pub fn get(&self, key: Key<'_>) -> Option<Vec<u8>> {
        let path = self.folder.as_ref()?.join(key.file());
        let entry = fs::read(&path).ok()?;
        let code = decode(key, &entry)?;
        let used = fs::metadata(&path).and_then(|m| m.modified());
        if used.is_ok_and(|t| t.elapsed().is_ok_and(|age| age > STALE)) {
            // The oldest go first; that it fails on a folder that cannot be written is no harm.
            let _ = fs::File::options().append(true).open(&path).and_then(|f| f.set_modified(SystemTime::now()));
        }
        Some(code.to_vec())
    }

    /// Keeps the code for a key, made by a compiler of this version. A folder that takes no files is no error.
    pub fn put(&self, key: Key<'_>, version: (i32, i32), code: &[u8]) {
        let Some(folder) = &self.folder else { return };
        let _ = self.write(folder, &key.file(), &encode(key, version, code));
    }

    /// Removes the entry of a key: the driver refused it.
    pub fn remove(&self, key: Key<'_>) {
        if let Some(folder) = &self.folder {
            let _ = fs::remove_file(folder.join(key.file()));
        }
    }

    fn write(&self, folder: &Path, name: &str, entry: &[u8]) -> io::Result<()> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        fs::create_dir_all(folder)?;
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let temporary = folder.join(format!("{name}.{}.{n}.tmp", std::process::id()));
        // Another's of this name is not ours to remove: containers that share a folder may have processes of one number.
        let mut file = fs::File::create_new(&temporary)?;
        if let Err(e) = file.write_all(entry).and_then(|()| fs::rename(&temporary, folder.join(name))) {
            let _ = fs::remove_file(&temporary);
            return Err(e);
        }
        // Listing a folder of thousands of entries takes long: not for each of them.
        let bytes = entry.len() as u64;
        if self.unswept.fetch_add(bytes, Ordering::Relaxed) < self.limit / 16 {
            return Ok(());
        }
        self.unswept.store(0, Ordering::Relaxed);
        self.sweep(folder)
    }

    /// Removes what is nobody's, and the entries longest unused once there are too many.
    fn sweep(&self, folder: &Path) -> io::Result<()> {
        let mut files = vec![];
        let mut total = 0;
        for entry in fs::read_dir(folder)?.flatten() {
            let path = entry.path();
            let Some(ending) = path.extension().and_then(|e| e.to_str()) else { continue };
            let Ok(meta) = entry.metadata() else { continue };
            let used = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            match ending {
                "tmp" if used.elapsed().is_ok_and(|age| age > STALE) => {
                    let _ = fs::remove_file(&path);
                }
                "kernel" => {
                    total += meta.len();
                    files.push((used, meta.len(), path));
                }
                _ => {}
            }
        }
        if total > self.limit {
            files.sort();
            for (_, size, path) in files {
                if total <= self.limit / 4 * 3 {
                    break;
                }
                let _ = fs::remove_file(path);
                total -= size;
            }
        }
        Ok(())
    }
}

impl Key<'_> {
    fn text(&self) -> String {
        let (kernels, form) = (env!("NDCUDA_KERNELS_HASH"), self.form);
        format!("{kernels} {}.{} {form:?} {}\n{}", self.arch.0, self.arch.1, options(), self.source)
    }

    fn file(&self) -> String {
        format!("{:016x}.kernel", fnv(self.text().as_bytes()))
    }
}

/// FNV-1a, 64 bits: the name of a file. Whether it is the right one, the key within says.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, &b| (h ^ b as u64).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Magic, version, lengths, hash of what follows; key; code.
fn encode(key: Key<'_>, version: (i32, i32), code: &[u8]) -> Vec<u8> {
    let text = key.text();
    let mut body = text.as_bytes().to_vec();
    body.extend(code);
    let mut out = MAGIC.to_vec();
    out.extend(version.0.to_le_bytes());
    out.extend(version.1.to_le_bytes());
    for word in [text.len() as u64, code.len() as u64, fnv(&body)] {
        out.extend(word.to_le_bytes());
    }
    out.extend(body);
    out
}

fn decode<'a>(key: Key<'_>, entry: &'a [u8]) -> Option<&'a [u8]> {
    let rest = entry.strip_prefix(MAGIC)?.get(8..)?;
    let word = |n: usize| -> Option<u64> { Some(u64::from_le_bytes(rest.get(8 * n..8 * n + 8)?.try_into().ok()?)) };
    let (text, code, hash) = (word(0)?, word(1)?, word(2)?);
    let body = &rest[24..];
    if body.len() as u64 != text.checked_add(code)? || fnv(body) != hash {
        return None;
    }
    let (own, code) = body.split_at(text as usize);
    (own == key.text().as_bytes()).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key<'_> = Key { source: "__global__ void k() {}", arch: (8, 0), form: Form::Cubin };

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("ndcuda-cache-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Folder(path)
        }

        fn cache(&self, limit: u64) -> Cache {
            Cache::new(Some(self.0.clone()), limit)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_was_put_comes_back_for_its_key_alone() {
        let folder = Folder::new("round");
        let cache = folder.cache(LIMIT);
        assert_eq!(cache.get(KEY), None);
        cache.put(KEY, (13, 0), b"code");
        assert_eq!(cache.get(KEY).as_deref(), Some(&b"code"[..]));
        assert_eq!(cache.get(Key { arch: (8, 6), ..KEY }), None);
        assert_eq!(cache.get(Key { form: Form::Ptx, ..KEY }), None);
        assert_eq!(cache.get(Key { source: "another", ..KEY }), None);
        cache.put(KEY, (13, 1), b"");
        assert_eq!(cache.get(KEY).as_deref(), Some(&b""[..]));
        cache.remove(KEY);
        assert_eq!(cache.get(KEY), None);
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0, "no temporary file stays");
    }

    #[test]
    fn a_file_with_anything_wrong_is_no_entry() {
        let folder = Folder::new("wrong");
        let cache = folder.cache(LIMIT);
        cache.put(KEY, (13, 0), b"some code");
        let path = folder.0.join(KEY.file());
        let good = fs::read(&path).unwrap();
        for cut in 0..good.len() {
            fs::write(&path, &good[..cut]).unwrap();
            assert_eq!(cache.get(KEY), None, "cut to {cut} bytes");
        }
        for at in (0..good.len()).filter(|at| !(8..16).contains(at)) {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            fs::write(&path, &bad).unwrap();
            assert_eq!(cache.get(KEY), None, "byte {at} changed");
        }
        let mut long = good.clone();
        long.push(0);
        fs::write(&path, &long).unwrap();
        assert_eq!(cache.get(KEY), None, "a byte too many");
        let mut lengths = good.clone();
        lengths[16..32].fill(0xff);
        fs::write(&path, &lengths).unwrap();
        assert_eq!(cache.get(KEY), None, "lengths that overflow");
        // Another key's whole entry under this name, as if hashes had met.
        fs::write(&path, encode(Key { source: "other", ..KEY }, (13, 0), b"other")).unwrap();
        assert_eq!(cache.get(KEY), None);
        fs::write(&path, &good).unwrap();
        assert_eq!(cache.get(KEY).as_deref(), Some(&b"some code"[..]));
    }

    #[test]
    fn the_folder_is_bounded_and_swept() {
        let folder = Folder::new("bound");
        let cache = folder.cache(4000);
        let sources: Vec<String> = (0..20).map(|n| format!("kernel {n}")).collect();
        fs::create_dir_all(&folder.0).unwrap();
        let stale = folder.0.join("x.kernel.1.1.tmp");
        fs::write(&stale, "half").unwrap();
        let old = SystemTime::now() - 2 * STALE;
        fs::File::options().append(true).open(&stale).unwrap().set_modified(old).unwrap();
        let foreign = folder.0.join("notes.txt");
        fs::write(&foreign, [0; 9000]).unwrap();
        for (n, source) in sources.iter().enumerate() {
            let key = Key { source, ..KEY };
            cache.put(key, (13, 0), &[n as u8; 500]);
            // Files of one instant have no order: put each a second later.
            let path = folder.0.join(key.file());
            let at = SystemTime::now() - Duration::from_secs(100 - n as u64);
            fs::File::options().append(true).open(&path).unwrap().set_modified(at).unwrap();
        }
        let kept: Vec<usize> = (0..20).filter(|&n| cache.get(Key { source: &sources[n], ..KEY }).is_some()).collect();
        assert!(kept.len() >= 4 && kept.len() <= 8, "{kept:?}");
        assert_eq!(kept, (20 - kept.len()..20).collect::<Vec<_>>(), "the newest stay");
        assert!(!stale.exists() && foreign.exists());
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_no_error() {
        let folder = Folder::new("file");
        fs::write(&folder.0, "a file where the folder would be").unwrap();
        let cache = folder.cache(LIMIT);
        cache.put(KEY, (13, 0), b"code");
        assert_eq!(cache.get(KEY), None);
        fs::remove_file(&folder.0).unwrap();
        let none = Cache::new(None, LIMIT);
        none.put(KEY, (13, 0), b"code");
        none.remove(KEY);
        assert_eq!(none.get(KEY), None);
    }

    #[test]
    fn many_writers_leave_one_whole_entry() {
        let folder = Folder::new("race");
        let cache = folder.cache(LIMIT);
        std::thread::scope(|s| {
            for n in 0..8u8 {
                let cache = &cache;
                s.spawn(move || {
                    for _ in 0..20 {
                        cache.put(KEY, (13, 0), &[n; 3000]);
                        let code = cache.get(KEY).unwrap();
                        assert!(code.len() == 3000 && code.iter().all(|&b| b == code[0]));
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1);
    }

    /// Each has its own count of what it wrote, as processes have.
    #[test]
    fn the_folder_is_bounded_for_all_who_write_at_once() {
        const EACH: usize = 60;
        let folder = Folder::new("crowd");
        std::thread::scope(|s| {
            for who in 0..4 {
                let cache = folder.cache(8000);
                s.spawn(move || {
                    for n in 0..EACH {
                        let source = format!("kernel {who} {n}");
                        let (key, code) = (Key { source: &source, ..KEY }, [n as u8; 500]);
                        cache.put(key, (13, 0), &code);
                        // Another may have removed it by now, but not in part.
                        assert!(cache.get(key).is_none_or(|got| got == code));
                    }
                });
            }
        });
        let sizes: Vec<u64> = fs::read_dir(&folder.0).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).collect();
        // At most one of each writer came after the last sweep.
        let most = 8000 + 4 * sizes.iter().max().unwrap();
        assert!(sizes.iter().sum::<u64>() <= most && sizes.len() >= 4, "{sizes:?}");
    }
}
