//! Random histories of groups, against a simple model.

use super::super::model::world::{CLAIM, World};
use super::super::*;
use proptest::prelude::*;

fn settings(order: u8, max_deliveries: u8, park: bool, max_pending: u32) -> Settings {
    let order = match order % 4 {
        0 => Order::None,
        1 => Order::Stream,
        2 => Order::Entity,
        _ => Order::Meta(b"m".to_vec()),
    };
    Settings {
        on_dead: match park && order != Order::None {
            true => OnDead::Park,
            false => OnDead::Skip,
        },
        order,
        claim_ms: CLAIM,
        max_pending,
        max_deliveries: (max_deliveries % 4 > 1).then_some(u16::from(max_deliveries % 4)),
        ..Settings::default()
    }
}

fn run(settings: Settings, steps: Vec<(u8, u8, u8, u16)>) {
    let mut world = World::new(settings);
    for step in steps {
        world.step(step);
    }
    world.drain();
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(400),
        max_shrink_iters: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_group_does_as_its_model(
        order in 0u8..4,
        max_deliveries in 0u8..4,
        park: bool,
        max_pending in prop_oneof![Just(10_000u32), Just(3)],
        steps in prop::collection::vec(any::<(u8, u8, u8, u16)>(), 0..300),
    ) {
        run(settings(order, max_deliveries, park, max_pending), steps);
    }
}

/// The clock goes back behind a failure, whose due time is in the future again: of an event that was due before that, and
/// of one that an earlier event of its key kept from being due.
#[test]
fn what_was_due_before_the_clock_went_back_is_due_still() {
    let added = (0, 0, 0, 1);
    let begin = vec![added, added, added, (25, 0, 0, 1), (6, 3, 7, 1)];
    let back = (27, 0, 0, 3050);
    let first_fails = [(19, 3, 1, 12), back, (6, 0, 0, 16)];
    let second_fails_and_first_is_done = [(19, 3, 1, 9), back, (17, 3, 1, 16)];
    for order in 0..4 {
        for end in [first_fails, second_fails_and_first_is_done] {
            let steps = [begin.clone(), end.to_vec()].concat();
            run(settings(order, 0, false, 3), steps);
        }
    }
}

/// Runs one history again: `STEPS` is what a failure shows, numbers in lines.
#[test]
fn one_history_again() {
    let Ok(text) = std::env::var("STEPS") else {
        return;
    };
    let mut lines = text.lines().map(|line| {
        let numbers = line
            .split(',')
            .map(|number| number.trim().parse::<u32>().unwrap());
        numbers.collect::<Vec<u32>>()
    });
    let first = lines.next().unwrap();
    let settings = settings(first[0] as u8, first[1] as u8, first[2] == 1, first[3]);
    run(
        settings,
        lines
            .map(|s| (s[0] as u8, s[1] as u8, s[2] as u8, s[3] as u16))
            .collect(),
    );
}
