//! The module's memory. It is the server's, so that `used_memory` and `maxmemory` know of it. A command
//! takes some thirty small blocks and gives them back at its end, and the server's count of each costs
//! more than the block: so some blocks of each small size are kept for the next command.
//!
//! Commands run on one thread, so there is one set of lists, which no other thread looks at. That thread is known by its
//! handle, which the C library reads from a register; a thread's own variables take a shared library three times as long.

use super::api::api;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

pub struct Allocator;

/// Blocks of at most this many bytes are kept…
const SMALL: usize = 1024;
/// …in sizes that are multiples of this…
const STEP: usize = 32;
/// …at most so many of each size that they take this many bytes: 512 KiB in all.
const KEPT: usize = 16 * 1024;

const SIZES: usize = SMALL / STEP;

/// Every allocator aligns its blocks to this many bytes, at least.
const LEAST_ALIGN: usize = 8;

/// The alignment of the server's blocks, in bytes. It is 16 with jemalloc; a server that is built with the C library's
/// allocator, and without a way to ask for a block's size, puts the size in front of it.
static ALIGN: AtomicUsize = AtomicUsize::new(LEAST_ALIGN);

unsafe extern "C" {
    /// The handle of this thread; it is never 0.
    safe fn pthread_self() -> usize;
}

/// The thread that runs commands, which never ends; 0 before it keeps blocks. There are others: the server frees values
/// on some and saves on some.
static KEEPER: AtomicUsize = AtomicUsize::new(0);

static FREE: Free = Free(UnsafeCell::new([List::EMPTY; SIZES]));

struct Free(UnsafeCell<[List; SIZES]>);

// SAFETY: only the keeper's thread looks inside.
unsafe impl Sync for Free {}

/// From now on this thread keeps blocks, unless valgrind is to see each of them come and go (`make leaks`).
pub fn keep() {
    if std::env::var_os("DIRTY_KEEP_NO_BLOCKS").is_none() {
        KEEPER.store(pthread_self(), Relaxed);
    }
}

/// Free blocks of one size, each of which begins with the address of the next.
#[derive(Clone, Copy)]
struct List {
    first: *mut c_void,
    /// The size of all of them.
    bytes: usize,
}

impl List {
    const EMPTY: List = List {
        first: std::ptr::null_mut(),
        bytes: 0,
    };
}

/// Runs something on the list of blocks of this layout and their size; `None` if there are no such blocks, or not on
/// this thread.
#[inline]
fn with_list<T>(layout: Layout, run: impl FnOnce(&mut List, usize) -> Option<T>) -> Option<T> {
    if !is_small(layout) || pthread_self() != KEEPER.load(Relaxed) {
        return None;
    }
    let index = layout.size().wrapping_sub(1) / STEP;
    // SAFETY: of this thread alone; what runs does not allocate, so it does not come here again.
    let free = unsafe { &mut *FREE.0.get() };
    run(
        free.get_mut(index)?,
        STEP.wrapping_mul(index.wrapping_add(1)),
    )
}

/// Of a size that is kept.
fn is_small(layout: Layout) -> bool {
    layout.size() <= SMALL && is_ours(layout)
}

/// The size that the server is asked for.
fn size(layout: Layout) -> usize {
    match is_small(layout) {
        true => layout.size().next_multiple_of(STEP),
        false => layout.size(),
    }
}

/// Whether the server can be asked for it. What needs a greater alignment comes from the C library, uncounted.
fn is_ours(layout: Layout) -> bool {
    layout.align() <= LEAST_ALIGN || layout.align() <= ALIGN.load(Relaxed)
}

/// Finds out how the server aligns its blocks. Call it once, before anything else allocates: what comes from the
/// server must go back to it.
pub fn probe() {
    const ALIGNED: usize = 16;
    let sizes = [STEP, 2 * STEP, SMALL, 4096, 1 << 20];
    let is_aligned = sizes.into_iter().all(|size| {
        // SAFETY: takes a size; the block is given back at once.
        unsafe {
            let block = api!(RedisModule_Alloc(size));
            let is_aligned = block.addr().is_multiple_of(ALIGNED);
            api!(RedisModule_Free(block));
            is_aligned
        }
    });
    if is_aligned {
        ALIGN.store(ALIGNED, Relaxed);
    }
}

/// A block of the server's.
#[cold]
#[inline(never)]
fn ask(layout: Layout) -> *mut u8 {
    // SAFETY: takes a size.
    unsafe { api!(RedisModule_Alloc(size(layout))) }.cast()
}

// SAFETY: blocks are the server's, of at least the size asked for, and a block is in a list or with its
// owner, never both.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !is_ours(layout) {
            // SAFETY: as the caller promises.
            return unsafe { System.alloc(layout) };
        }
        let kept = with_list(layout, |list, size| {
            let block = NonNull::new(list.first)?;
            // SAFETY: `dealloc` wrote the next one there.
            list.first = unsafe { block.cast().read() };
            list.bytes = list.bytes.wrapping_sub(size);
            Some(block)
        });
        match kept {
            Some(block) => block.as_ptr().cast(),
            None => ask(layout),
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if !is_ours(layout) {
            // SAFETY: as the caller promises; `alloc` had it from there.
            return unsafe { System.dealloc(block, layout) };
        }
        let block = block.cast::<c_void>();
        let kept = with_list(layout, |list, size| {
            let bytes = list.bytes.wrapping_add(size);
            if bytes > KEPT {
                return None;
            }
            list.bytes = bytes;
            // SAFETY: nobody's any more, of at least STEP bytes.
            unsafe { block.cast::<*mut c_void>().write(list.first) };
            list.first = block;
            Some(())
        });
        if kept.is_none() {
            // SAFETY: a block of the server's.
            unsafe { api!(RedisModule_Free(block)) }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller promises a size that is not too large for the alignment.
        let new = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        if size(layout) == size(new) {
            return block; // small before and after, if at all
        }
        if is_small(layout) || is_small(new) || !is_ours(layout) {
            // SAFETY: a new block, and an old one of this layout; both have the bytes that are copied.
            return unsafe {
                let copy = self.alloc(new);
                copy.copy_from_nonoverlapping(block, layout.size().min(new_size));
                self.dealloc(block, layout);
                copy
            };
        }
        // SAFETY: a block of the server's, before and after of a size that is in no list.
        unsafe { api!(RedisModule_Realloc(block.cast(), size(new))) }.cast()
    }
}
