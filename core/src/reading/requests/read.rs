//! `DIRTY.READ stream FROM start [SHARD index count] [MINAGE ms] [COUNT n] [BLOCK ms] [RAW|JSON] [WHERE filter …]`.

use super::shared::{Batch, Once, filter, shard, start};
use crate::args::Args;
use crate::entity::limits::Limits;
use crate::error::Error;
use crate::reading::{Filter, Shard, Start};

/// What is read without any state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// FROM.
    pub from: Start,
    /// SHARD.
    pub shard: Option<Shard>,
    /// MINAGE.
    pub min_age_ms: u64,
    /// WHERE.
    pub filter: Filter,
    /// COUNT, BLOCK, RAW and JSON.
    pub batch: Batch,
}

impl Request {
    /// From the arguments behind the stream.
    pub fn parse(mut args: Args, limits: &Limits) -> Result<Self, Error> {
        if !args.keyword("FROM") {
            return Err(Error::Missing {
                of: "READ",
                what: "FROM",
            });
        }
        let mut request = Request {
            from: start(&mut args, "FROM")?,
            shard: None,
            min_age_ms: 0,
            filter: Filter::default(),
            batch: Batch::default(),
        };
        Once::default().all(&mut args, |args| {
            Ok(Some(if args.keyword("SHARD") {
                request.shard = Some(shard(args)?);
                "SHARD"
            } else if args.keyword("MINAGE") {
                request.min_age_ms = args.ms("MINAGE", 0)?;
                "MINAGE"
            } else if args.keyword("WHERE") {
                request.filter = filter(args, limits)?;
                "WHERE"
            } else {
                return request.batch.option(args);
            }))
        })?;
        Ok(request)
    }
}
