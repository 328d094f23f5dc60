//! The mesh's sleeping flag in every interleaving and reordering that the memory model allows.
//!
//! The flag is the real one: `src/mesh/sleeping.rs`, compiled here with loom's atomics. Round it
//! stand the least that a port and an eventfd promise: a queue without any ordering of its own (the
//! real one's is stronger), and a doorbell that a parked owner waits for. A lost wake leaves the
//! owner parked for ever, which loom reports as a deadlock.
//!
//! Schedules with more than [`PREEMPTIONS_MAX`] preemptions are left out, so that this takes
//! seconds. All of them took 6 minutes and passed: `LOOM_MAX_PREEMPTIONS=100 cargo test --test loom`.

use std::sync::Arc;

use loom::sync::atomic::{self, AtomicU32, Ordering};
use loom::sync::{Condvar, Mutex};
use loom::thread;

#[path = "../src/mesh/sleeping.rs"]
mod sleeping;

use sleeping::Sleeping;

/// How often a schedule may take the processor from a thread that could go on.
const PREEMPTIONS_MAX: usize = 3;

/// loom ends the whole model at a thread's first panic.
const SOUND: &str = "no thread of the model has panicked";

/// What producer and owner do to the flag; the real one, and broken ones to test the model with.
trait Flag: Send + Sync + 'static {
    fn new() -> Self;
    fn raise(&self);
    fn lower(&self);
    fn take_down(&self) -> bool;
}

impl Flag for Sleeping {
    fn new() -> Self {
        Sleeping::new()
    }
    fn raise(&self) {
        Sleeping::raise(self);
    }
    fn lower(&self) {
        Sleeping::lower(self);
    }
    fn take_down(&self) -> bool {
        Sleeping::take_down(self)
    }
}

/// Stands for an eventfd that the owner watches edge-triggered: a ring while nobody waits is kept.
struct Doorbell {
    rings: Mutex<u32>,
    rung: Condvar,
}

impl Doorbell {
    fn ring(&self) {
        *self.rings.lock().expect(SOUND) += 1;
        self.rung.notify_one();
    }

    /// Waits until it has rung more than `heard` times; how often it has.
    fn wait(&self, heard: u32) -> u32 {
        let mut rings = self.rings.lock().expect(SOUND);
        while *rings == heard {
            rings = self.rung.wait(rings).expect(SOUND);
        }
        *rings
    }
}

/// One thread's end of the mesh.
struct Inbox<F> {
    batch_count: AtomicU32,
    flag: F,
    doorbell: Doorbell,
}

impl<F: Flag> Inbox<F> {
    fn new() -> Arc<Inbox<F>> {
        Arc::new(Inbox {
            batch_count: AtomicU32::new(0),
            flag: F::new(),
            doorbell: Doorbell { rings: Mutex::new(0), rung: Condvar::new() },
        })
    }

    /// As `Port::flush` and `Wake::wake` do.
    fn push(&self) {
        self.batch_count.fetch_add(1, Ordering::Relaxed);
        if self.flag.take_down() {
            self.doorbell.ring();
        }
    }

    /// As `Shard::live` does, until `expected` batches have come; how often it raised the flag.
    fn live(&self, expected: u32) -> u32 {
        let (mut received, mut raised, mut heard) = (0, 0, 0);
        loop {
            received += self.batch_count.swap(0, Ordering::Relaxed);
            if received == expected {
                return raised;
            }
            self.flag.raise();
            raised += 1;
            if self.batch_count.load(Ordering::Relaxed) == 0 {
                heard = self.doorbell.wait(heard);
            }
            self.flag.lower();
        }
    }
}

/// `producer_count` threads push `each` batches to one owner.
fn check<F: Flag>(producer_count: u32, each: u32) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = model.preemption_bound.or(Some(PREEMPTIONS_MAX));
    model.check(move || {
        let inbox = Inbox::<F>::new();
        let producers: Vec<_> = (0..producer_count)
            .map(|_| {
                let inbox = Arc::clone(&inbox);
                thread::spawn(move || (0..each).for_each(|_| inbox.push()))
            })
            .collect();
        let raised = inbox.live(producer_count * each);
        for producer in producers {
            producer.join().expect(SOUND);
        }
        let rings = *inbox.doorbell.rings.lock().expect(SOUND);
        assert!(rings <= raised, "{rings} wakes for {raised} idle-to-busy transitions");
    });
}

#[test]
fn one_producer_never_loses_a_wake_nor_rings_twice() {
    check::<Sleeping>(1, 2);
}

#[test]
fn two_producers_never_lose_a_wake_nor_ring_twice() {
    check::<Sleeping>(2, 1);
}

/// Raises and looks without fences.
struct Unfenced(atomic::AtomicBool);

impl Flag for Unfenced {
    fn new() -> Self {
        Unfenced(atomic::AtomicBool::new(false))
    }
    fn raise(&self) {
        self.0.store(true, Ordering::Release);
    }
    fn lower(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
    fn take_down(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}

#[test]
#[should_panic(expected = "deadlock")]
fn the_model_finds_a_flag_that_loses_wakes() {
    check::<Unfenced>(1, 1);
}

/// Tells everyone who finds the flag up, and leaves it so.
struct Untaken(atomic::AtomicBool);

impl Flag for Untaken {
    fn new() -> Self {
        Untaken(atomic::AtomicBool::new(false))
    }
    fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
        atomic::fence(Ordering::SeqCst);
    }
    fn lower(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
    fn take_down(&self) -> bool {
        atomic::fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed)
    }
}

#[test]
#[should_panic(expected = "idle-to-busy transitions")]
fn the_model_finds_a_flag_that_rings_twice() {
    check::<Untaken>(2, 1);
}
