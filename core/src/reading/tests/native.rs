//! FROM GROUP: a native group is taken over.

use super::super::model::fake::Fake;
use super::super::*;
use crate::entity::event_id::EventId;

#[test]
fn a_native_groups_position_and_pending_entries_become_the_readers() {
    for (kind, order, holders, position) in [
        (
            Kind::Group,
            Order::None,
            vec![Some("c1"), Some("c2"), None],
            4,
        ),
        (Kind::Group, Order::Entity, vec![None, None], 4),
        (Kind::Cursor, Order::None, vec![], 0),
    ] {
        let mut stream = Fake::default();
        let ids: Vec<EventId> = (0..5u8).map(|key| stream.add(1000, key % 2)).collect();
        // The third was deleted, and is pending still.
        stream.entries.remove(&ids[2]);
        let pending = |id, consumer: &str, deliveries, delivered_ms| NativePending {
            id,
            consumer: consumer.into(),
            deliveries,
            delivered_ms,
        };
        let native = Native {
            position: ids[3],
            pending: vec![
                pending(ids[0], "c1", 3, 1500),
                pending(ids[1], "c2", 1, 1200),
                pending(ids[2], "", 1, 1100),
            ],
        };
        let declare = Declare {
            kind,
            name: b"g",
            from: Some(From::Native(&native)),
            settings: Settings {
                order,
                ..Settings::default()
            },
            revision: None,
            seed: Seed(1, 2),
        };
        let mut readers = Readers::new();
        let outcome = readers.declare(&declare, 2000, &mut stream).unwrap();
        readers.assert_sound();
        let mut copy = Readers::new();
        assert!(copy.apply(&outcome.delta.unwrap()));
        assert_eq!(copy.pieces(), readers.pieces());
        assert_eq!(readers.get(b"g").unwrap().position.seq, position);
        if kind == Kind::Cursor {
            continue;
        }
        let listed = readers.list_pending(b"g", None, None, 10, 2000).unwrap();
        let names = listed.iter().map(|listed| listed.consumer.clone());
        let names: Vec<Option<Vec<u8>>> = names.collect();
        let holders = holders
            .iter()
            .map(|name| name.map(|name| name.as_bytes().to_vec()));
        assert_eq!(names, holders.collect::<Vec<_>>());
        assert_eq!((listed[0].deliveries, listed[1].deliveries), (3, 1));
        // They were delivered long ago as far as the group knows, but this server has just begun.
        let consume = Consume {
            group: b"g",
            consumer: b"c9",
            ack: &[],
            pending: false,
            count: 10,
        };
        readers
            .consume(&consume, Limits::default(), 62_000, &mut stream)
            .unwrap();
        let given = stream.take_given();
        let given: Vec<(u64, u16)> = given
            .iter()
            .map(|(id, delivery)| (id.seq, delivery.deliveries))
            .collect();
        assert!(given.contains(&(1, 4)) && given.contains(&(2, 2)) && given.contains(&(5, 1)));
        readers.assert_sound();
    }
}
