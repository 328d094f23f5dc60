//! SQLite's file system (`sqlite3_vfs`, sqlite.org/c3ref/vfs.html) over disks in memory.
//!
//! A path `name/file` is the file `file` on the disk `name`. It promises what SQLite's own for Unix
//! does (sectors of 4,096 bytes, neighbours of a write stay whole) and no memory between processes, so
//! that only exclusive locking works. Locks are granted: a disk is opened by one store at a time.
#![expect(unsafe_code, reason = "SQLite calls a file system through C function pointers")]

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};

use rusqlite::ffi;

use super::disk::{Disk, Refusal};

/// The name to open a database by.
pub const NAME: &str = "disk-in-memory";

type Shared = Arc<Mutex<Disk>>;

static DISKS: Mutex<Option<HashMap<String, Shared>>> = Mutex::new(None);

/// Puts a disk under `name`, in place of any before; to be looked at while SQLite uses it.
pub fn mount(name: &str, disk: Disk) -> Shared {
    register();
    let disk = Arc::new(Mutex::new(disk));
    let mut disks = lock(&DISKS);
    disks.get_or_insert_default().insert(name.to_owned(), Arc::clone(&disk));
    disk
}

/// A lock whose holder may have panicked: a failed test must not fail the others.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let vfs = Box::leak(Box::new(ffi::sqlite3_vfs {
            iVersion: 1,
            szOsFile: c_int::try_from(size_of::<Handle>()).unwrap(),
            mxPathname: 512,
            pNext: std::ptr::null_mut(),
            zName: c"disk-in-memory".as_ptr(),
            pAppData: std::ptr::null_mut(),
            xOpen: Some(open),
            xDelete: Some(delete),
            xAccess: Some(access),
            xFullPathname: Some(full_pathname),
            xDlOpen: None,
            xDlError: None,
            xDlSym: None,
            xDlClose: None,
            xRandomness: Some(randomness),
            xSleep: Some(sleep),
            xCurrentTime: Some(current_time),
            xGetLastError: None,
            xCurrentTimeInt64: None,
            xSetSystemCall: None,
            xGetSystemCall: None,
            xNextSystemCall: None,
        }));
        // SAFETY: the structure is complete for version 1, and it and its name live for ever.
        let registered = unsafe { ffi::sqlite3_vfs_register(vfs, 0) };
        assert_eq!(registered, ffi::SQLITE_OK);
    });
}

/// What SQLite keeps of an open file: its own part, then ours.
#[repr(C)]
struct Handle {
    base: ffi::sqlite3_file,
    open: *mut Open,
}

struct Open {
    disk: Shared,
    file: String,
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock_level),
    xUnlock: Some(lock_level),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

fn code(outcome: Result<(), Refusal>, otherwise: c_int) -> c_int {
    match outcome {
        Ok(()) => ffi::SQLITE_OK,
        Err(Refusal::Full) => ffi::SQLITE_FULL,
        Err(Refusal::Off | Refusal::Sync | Refusal::Missing) => otherwise,
    }
}

/// The disk and the file of a path.
fn split(path: &str) -> Option<(Shared, &str)> {
    let (name, file) = path.split_once('/')?;
    let disk = Arc::clone(lock(&DISKS).as_ref()?.get(name)?);
    Some((disk, file))
}

unsafe fn text<'a>(name: *const c_char) -> &'a str {
    // SAFETY: SQLite passes a name that ends in a zero and outlives the call.
    unsafe { CStr::from_ptr(name) }.to_str().unwrap()
}

/// Does `work` with the open file.
unsafe fn with<T>(file: *mut ffi::sqlite3_file, work: impl FnOnce(&mut Disk, &str) -> T) -> T {
    // SAFETY: SQLite passes a file that `open` has filled and `close` has not freed.
    let open = unsafe { &*(*file.cast::<Handle>()).open };
    work(&mut lock(&open.disk), &open.file)
}

fn place(offset: ffi::sqlite3_int64) -> usize {
    usize::try_from(offset).unwrap()
}

unsafe extern "C" fn open(
    _vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    let handle = file.cast::<Handle>();
    // SAFETY: `file` has room for a Handle, as szOsFile asked for; without methods SQLite does not
    // close what could not be opened.
    unsafe { (*handle).base.pMethods = std::ptr::null() };
    assert!(!name.is_null(), "temporary files are kept in memory");
    // SAFETY: the name is not null.
    let Some((disk, file_name)) = split(unsafe { text(name) }) else {
        return ffi::SQLITE_CANTOPEN;
    };
    let opened = lock(&disk).open(file_name, flags & ffi::SQLITE_OPEN_CREATE != 0);
    if opened.is_err() {
        return ffi::SQLITE_CANTOPEN;
    }
    let open = Box::new(Open { disk, file: file_name.to_owned() });
    // SAFETY: as above; SQLite passes a place for the flags or null.
    unsafe {
        (*handle).open = Box::into_raw(open);
        (*handle).base.pMethods = &raw const METHODS;
        if let Some(flags_out) = flags_out.as_mut() {
            *flags_out = flags;
        }
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: the box that `open` has made; SQLite closes a file once.
    drop(unsafe { Box::from_raw((*file.cast::<Handle>()).open) });
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    bytes: *mut c_void,
    count: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    let count = usize::try_from(count).unwrap();
    // SAFETY: SQLite passes `count` bytes to be filled; zeroes make them valid to lend.
    let bytes = unsafe {
        bytes.write_bytes(0, count);
        std::slice::from_raw_parts_mut(bytes.cast::<u8>(), count)
    };
    // SAFETY: an open file.
    match unsafe { with(file, |disk, name| disk.read(name, place(offset), bytes)) } {
        Ok(found) if found < count => ffi::SQLITE_IOERR_SHORT_READ,
        outcome => code(outcome.map(drop), ffi::SQLITE_IOERR_READ),
    }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    bytes: *const c_void,
    count: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    let count = usize::try_from(count).unwrap();
    // SAFETY: SQLite passes `count` bytes to be written.
    let bytes = unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), count) };
    // SAFETY: an open file.
    let written = unsafe { with(file, |disk, name| disk.write(name, place(offset), bytes)) };
    code(written, ffi::SQLITE_IOERR_WRITE)
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: ffi::sqlite3_int64) -> c_int {
    // SAFETY: an open file.
    let truncated = unsafe { with(file, |disk, name| disk.truncate(name, place(size))) };
    code(truncated, ffi::SQLITE_IOERR_TRUNCATE)
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    // SAFETY: an open file.
    let synced = unsafe { with(file, Disk::sync) };
    code(synced, ffi::SQLITE_IOERR_FSYNC)
}

unsafe extern "C" fn file_size(
    file: *mut ffi::sqlite3_file,
    size: *mut ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: an open file.
    let found = unsafe { with(file, Disk::size) };
    if let Ok(found) = found {
        // SAFETY: SQLite passes a place for the size.
        unsafe { *size = ffi::sqlite3_int64::try_from(found).unwrap() };
    }
    code(found.map(drop), ffi::SQLITE_IOERR_FSTAT)
}

unsafe extern "C" fn lock_level(_file: *mut ffi::sqlite3_file, _level: c_int) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn check_reserved_lock(
    _file: *mut ffi::sqlite3_file,
    is_reserved: *mut c_int,
) -> c_int {
    // SAFETY: SQLite passes a place for the answer.
    unsafe { *is_reserved = 0 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_control(
    _file: *mut ffi::sqlite3_file,
    _operation: c_int,
    _argument: *mut c_void,
) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_file: *mut ffi::sqlite3_file) -> c_int {
    4096
}

unsafe extern "C" fn device_characteristics(_file: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn delete(
    _vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    syncs_folder: c_int,
) -> c_int {
    // SAFETY: SQLite passes a name.
    let Some((disk, file)) = split(unsafe { text(name) }) else { return ffi::SQLITE_IOERR_DELETE };
    match lock(&disk).remove(file, syncs_folder != 0) {
        Err(Refusal::Missing) => ffi::SQLITE_IOERR_DELETE_NOENT,
        removed => code(removed, ffi::SQLITE_IOERR_DELETE),
    }
}

unsafe extern "C" fn access(
    _vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    _flags: c_int,
    is_there: *mut c_int,
) -> c_int {
    // SAFETY: SQLite passes a name, and a place for the answer.
    unsafe {
        let found = split(text(name));
        *is_there = c_int::from(found.is_some_and(|(disk, file)| lock(&disk).has(file)));
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn full_pathname(
    _vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    size: c_int,
    full: *mut c_char,
) -> c_int {
    // SAFETY: SQLite passes a name and `size` bytes of room; what fits is copied with its zero.
    unsafe {
        let length = CStr::from_ptr(name).to_bytes_with_nul().len();
        if length > usize::try_from(size).unwrap() {
            return ffi::SQLITE_CANTOPEN;
        }
        std::ptr::copy_nonoverlapping(name, full, length);
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn randomness(
    _vfs: *mut ffi::sqlite3_vfs,
    count: c_int,
    bytes: *mut c_char,
) -> c_int {
    // SAFETY: SQLite passes `count` bytes to be filled. Any will do: they salt the log's checksums.
    unsafe { bytes.write_bytes(0x5a, usize::try_from(count).unwrap()) };
    count
}

unsafe extern "C" fn sleep(_vfs: *mut ffi::sqlite3_vfs, _microseconds: c_int) -> c_int {
    0
}

unsafe extern "C" fn current_time(_vfs: *mut ffi::sqlite3_vfs, days: *mut f64) -> c_int {
    // SAFETY: SQLite passes a place for the Julian day; nothing that a store does depends on it.
    unsafe { *days = 2_461_366.5 };
    ffi::SQLITE_OK
}
