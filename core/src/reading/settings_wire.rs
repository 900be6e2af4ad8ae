//! The bytes of settings within a delta.
//!
//! | part | bytes |
//! | --- | --- |
//! | order | byte: 0 NONE, 1 STREAM, 2 ENTITY, 3 META and bytes: the name |
//! | claim, max pending, min age | numbers |
//! | max deliveries | number, 0 for none |
//! | on dead | byte: 0 SKIP, 1 PARK |
//! | dead | 0, or 1 and bytes |
//! | shard | number: count, 0 for none; number: index |
//! | entities, ids | number, that many bytes |
//! | operations | byte: bits, 0 for all |
//! | fields | 0, or 1 and number, that many bytes |
//! | meta | number, that many of bytes: name, number, that many bytes: values |

use super::filter::{Filter, Shard};
use super::settings::{OnDead, Order, Settings};
use super::wire::{put_bytes, put_number, Bytes};
use crate::entity::operation::Operations;
use std::collections::{BTreeMap, BTreeSet};

fn put_set(out: &mut Vec<u8>, set: &BTreeSet<Vec<u8>>) {
    put_number(out, u64::try_from(set.len()).unwrap_or(u64::MAX));
    for item in set {
        put_bytes(out, item);
    }
}

fn take_set(bytes: &mut Bytes) -> Option<BTreeSet<Vec<u8>>> {
    let n = bytes.number()?;
    let mut set = BTreeSet::new();
    // What a number claims is taken for true item by item: there are no more than bytes.
    for _ in 0..n {
        set.insert(bytes.bytes()?.to_vec());
    }
    Some(set)
}

/// Writes settings.
pub fn put_settings(out: &mut Vec<u8>, settings: &Settings) {
    match &settings.order {
        Order::None => out.push(0),
        Order::Stream => out.push(1),
        Order::Entity => out.push(2),
        Order::Meta(name) => {
            out.push(3);
            put_bytes(out, name);
        }
    }
    put_number(out, settings.claim_ms);
    put_number(out, settings.max_pending.into());
    put_number(out, settings.min_age_ms);
    put_number(out, settings.max_deliveries.unwrap_or(0).into());
    out.push(u8::from(settings.on_dead == OnDead::Park));
    out.push(u8::from(settings.dead.is_some()));
    if let Some(dead) = &settings.dead {
        put_bytes(out, dead);
    }
    let shard = settings.shard.unwrap_or(Shard { index: 0, count: 0 });
    put_number(out, shard.count);
    put_number(out, shard.index);
    let filter = &settings.filter;
    put_set(out, &filter.entities);
    put_set(out, &filter.ids);
    out.push(filter.operations.map_or(0, |operations| operations.bits()));
    out.push(u8::from(filter.fields.is_some()));
    if let Some(fields) = &filter.fields {
        put_set(out, fields);
    }
    put_number(out, u64::try_from(filter.meta.len()).unwrap_or(u64::MAX));
    for (name, values) in &filter.meta {
        put_bytes(out, name);
        put_set(out, values);
    }
}

/// Reads settings; `None` for what `put_settings` does not write.
pub fn take_settings(bytes: &mut Bytes) -> Option<Settings> {
    let order = match bytes.byte()? {
        0 => Order::None,
        1 => Order::Stream,
        2 => Order::Entity,
        3 => Order::Meta(bytes.bytes()?.to_vec()),
        _ => return None,
    };
    let claim_ms = bytes.number()?;
    let max_pending = bytes.small()?;
    let min_age_ms = bytes.number()?;
    let max_deliveries = Some(bytes.small()?).filter(|n| *n > 0);
    let on_dead = match bytes.flag()? {
        true => OnDead::Park,
        false => OnDead::Skip,
    };
    let dead = match bytes.flag()? {
        true => Some(bytes.bytes()?.to_vec()),
        false => None,
    };
    let (count, index) = (bytes.number()?, bytes.number()?);
    let shard = (count > 0).then_some(Shard { index, count });
    let (entities, ids) = (take_set(bytes)?, take_set(bytes)?);
    let operations = match bytes.byte()? {
        0 => None,
        bits => Some(Operations::from_bits(bits)?),
    };
    let fields = match bytes.flag()? {
        true => Some(take_set(bytes)?),
        false => None,
    };
    let mut meta = BTreeMap::new();
    for _ in 0..bytes.number()? {
        let name = bytes.bytes()?.to_vec();
        meta.insert(name, take_set(bytes)?);
    }
    let settings = Settings {
        order,
        claim_ms,
        max_pending,
        max_deliveries,
        on_dead,
        dead,
        shard,
        min_age_ms,
        filter: Filter {
            entities,
            ids,
            operations,
            fields,
            meta,
        },
    };
    settings.flaw().is_none().then_some(settings)
}
