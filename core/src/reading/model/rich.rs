//! Readers that have something of everything.

use super::super::*;
use super::fake::Fake;
use crate::entity::event_id::EventId;

/// A state with something of everything, and deltas that lead there.
pub fn rich(order: Order) -> (Fake, Vec<(Readers, Vec<u8>)>, Readers) {
    let mut stream = Fake::default();
    let mut readers = Readers::new();
    let mut deltas: Vec<(Readers, Vec<u8>)> = Vec::new();
    let mut before = Readers::new();
    macro_rules! act {
        ($outcome:expr) => {
            if let Some(delta) = $outcome.unwrap().delta {
                deltas.push((std::mem::replace(&mut before, readers.clone()), delta));
            }
        };
    }
    let keyed = order != Order::None;
    let settings = Settings {
        order,
        max_deliveries: Some(2),
        on_dead: if keyed { OnDead::Park } else { OnDead::Skip },
        filter: Filter {
            entities: [b"e".to_vec()].into(),
            fields: Some([b"f".to_vec()].into()),
            meta: [(b"m".to_vec(), (0..9).map(|key| vec![key]).collect())].into(),
            ..Filter::default()
        },
        ..Settings::default()
    };
    for (kind, name) in [
        (Kind::Group, &b"g"[..]),
        (Kind::Cursor, b"c"),
        (Kind::Group, b"h"),
    ] {
        let settings = match kind {
            Kind::Group => settings.clone(),
            Kind::Cursor => Settings {
                shard: Some(Shard { index: 0, count: 2 }),
                ..Settings::default()
            },
        };
        let declare = Declare {
            kind,
            name,
            from: Some(From::Start(Start::Beginning)),
            settings,
            revision: Some(3),
            seed: Seed(1, 2),
        };
        act!(readers.declare(&declare, 1000, &mut stream));
    }
    for key in 0..60 {
        stream.add(1000, key % 7);
    }
    let mut now = 2000;
    for round in 0..12u8 {
        now += 700;
        let consumer = [b"c", &[b'0' + round % 3][..]].concat();
        let consume = Consume {
            group: b"g",
            consumer: &consumer,
            ack: &[],
            pending: round % 5 == 4,
            count: 7,
        };
        act!(readers.consume(&consume, Limits::default(), now, &mut stream));
        let given: Vec<EventId> = stream.take_given().into_iter().map(|(id, _)| id).collect();
        let fail = Fail {
            group: b"g",
            consumer: &consumer,
            message: b"because",
            force: false,
            again: if round % 3 == 0 {
                Again::Never
            } else {
                Again::After(5000)
            },
            ids: given.get(..2).unwrap_or(&[]),
        };
        act!(readers.fail(&fail, now, &mut stream));
        act!(readers.ack(
            b"g",
            &consumer,
            false,
            given.get(3..5).unwrap_or(&[]),
            now,
            &mut stream
        ));
        match round {
            5 => act!(readers.redrive(b"g", &Selector::All, now, &mut stream)),
            6 => act!(readers.hold(b"g", b"c1", None, now, &mut stream)),
            7 => act!(readers.leave(b"g", b"c2", now, &mut stream)),
            8 => {
                let position = Position::new(given.first().copied().unwrap_or_default(), 1000);
                act!(readers.ack_cursor(b"c", &position, now, &mut stream));
            }
            9 => act!(readers.pause(b"h", true, now, &mut stream)),
            _ => (),
        }
    }
    (stream, deltas, readers)
}
