//! Sequences of commands: readers of every kind against what holds of all of them, a group and a cursor that begins with a
//! snapshot against their models.

use super::play::Play;
use super::source::Source;
use crate::reading::model::fake::Fake;
use crate::reading::model::folding::Folding;
use crate::reading::model::world::{CLAIM, World};
use crate::reading::{OnDead, Order, Readers, Settings};

/// No longer sequence is played: what is worth finding is found in a shorter one.
const STEPS: usize = 100;

/// The first byte selects what is played, the others are the steps.
pub fn sequence(bytes: &[u8]) {
    let mut source = Source(bytes);
    match source.byte() % 4 {
        0 => group(&mut source),
        1 => snapshot(&mut source),
        _ => every_kind(&mut source),
    }
}

fn group(source: &mut Source) {
    let order = source.of(&[
        Order::None,
        Order::Stream,
        Order::Entity,
        Order::Meta(b"m".to_vec()),
    ]);
    let (deliveries, how) = (source.byte() % 4, source.byte());
    let parks = how & 1 == 1 && order != Order::None;
    let mut world = World::new(Settings {
        on_dead: if parks { OnDead::Park } else { OnDead::Skip },
        order,
        claim_ms: CLAIM,
        max_pending: if how & 2 == 2 { 3 } else { 10_000 },
        max_deliveries: (deliveries > 1).then_some(deliveries.into()),
        ..Settings::default()
    });
    let mut steps = 0;
    while let Some(what) = source.next().filter(|_| steps < STEPS) {
        steps += 1;
        let step = (what, source.byte(), source.byte(), source.short());
        world.step(step);
    }
    world.drain();
}

fn snapshot(source: &mut Source) {
    let mut world = Folding::begin();
    let mut steps = 0;
    while let Some(what) = source.next().filter(|_| steps < STEPS) {
        steps += 1;
        let (n, count) = (source.byte(), source.byte());
        world.step(what % 12, n, u32::from(count % 6) + 1);
    }
    world.drain();
}

fn every_kind(source: &mut Source) {
    let mut play = Play::new(Readers::new(), Fake::default());
    play.declare_all();
    let mut steps = 0;
    while let Some(what) = source.next().filter(|_| steps < STEPS) {
        steps += 1;
        play.step(what, source);
    }
    play.look();
}
