//! `DIRTY.RECONCILE key BEGIN run | SWEEP run [MAXDELETE n|n%] [DRYRUN] [COUNT n] | ABORT run | STATUS run`.

use super::MaxDelete;
use crate::args::Args;
use crate::entity::decimal;
use crate::error::{Error, Quoted};

/// How many snapshots a call of SWEEP looks at.
const DEFAULT_COUNT: usize = 1000;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The run.
    pub run: &'a [u8],
    /// The step of it.
    pub step: Step,
}

/// A step of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// BEGIN.
    Begin,
    /// SWEEP.
    Sweep(Sweep),
    /// ABORT.
    Abort,
    /// STATUS.
    Status,
}

/// SWEEP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// MAXDELETE.
    pub max_delete: MaxDelete,
    /// DRYRUN.
    pub is_dry: bool,
    /// COUNT.
    pub count: usize,
}

impl<'a> Request<'a> {
    /// From the arguments behind the key.
    pub fn parse(mut args: Args<'a>) -> Result<Self, Error> {
        let step = match () {
            () if args.keyword("BEGIN") => Step::Begin,
            () if args.keyword("SWEEP") => Step::Sweep(Sweep {
                max_delete: MaxDelete::Default,
                is_dry: false,
                count: DEFAULT_COUNT,
            }),
            () if args.keyword("ABORT") => Step::Abort,
            () if args.keyword("STATUS") => Step::Status,
            () => {
                return Err(Error::NotOneOf {
                    of: "RECONCILE",
                    choices: "BEGIN, SWEEP, ABORT or STATUS",
                    got: Quoted::new(args.take().unwrap_or_default()),
                });
            }
        };
        let mut request = Request {
            run: args.name("RECONCILE", "a run")?,
            step,
        };
        if let Step::Sweep(sweep) = &mut request.step {
            sweep.options(&mut args)?;
        }
        match args.take() {
            None => Ok(request),
            Some(got) => Err(Error::UnknownOption(Quoted::new(got))),
        }
    }
}

impl Sweep {
    fn options(&mut self, args: &mut Args) -> Result<(), Error> {
        let mut seen = Vec::new();
        loop {
            let option = if args.keyword("MAXDELETE") {
                self.max_delete = max_delete(args)?;
                "MAXDELETE"
            } else if args.keyword("DRYRUN") {
                self.is_dry = true;
                "DRYRUN"
            } else if args.keyword("COUNT") {
                let count = args.number("COUNT", "a number", 1..=u64::from(u32::MAX))?;
                self.count = usize::try_from(count).unwrap_or(usize::MAX);
                "COUNT"
            } else {
                return Ok(());
            };
            if seen.contains(&option) {
                return Err(Error::Repeated(option));
            }
            seen.push(option);
        }
    }
}

fn max_delete(args: &mut Args) -> Result<MaxDelete, Error> {
    let text = args.next("MAXDELETE", "a number")?;
    let percent = text.strip_suffix(b"%").map(|n| {
        let n = decimal::parse(n).and_then(|n| u8::try_from(n).ok());
        n.filter(|n| *n <= 100).map(MaxDelete::Percent)
    });
    let count = || decimal::parse(text).map(MaxDelete::Count);
    percent
        .unwrap_or_else(count)
        .ok_or_else(|| Error::NotOneOf {
            of: "MAXDELETE",
            choices: "a number or a part from 0% to 100%",
            got: Quoted::new(text),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_and_options_are_read() {
        let sweep = |max_delete, is_dry, count| {
            Step::Sweep(Sweep {
                max_delete,
                is_dry,
                count,
            })
        };
        for (line, step) in [
            ("begin r", Step::Begin),
            ("ABORT r", Step::Abort),
            ("STATUS r", Step::Status),
            ("SWEEP r", sweep(MaxDelete::Default, false, 1000)),
            (
                "SWEEP r MAXDELETE 5 COUNT 7",
                sweep(MaxDelete::Count(5), false, 7),
            ),
            (
                "SWEEP r dryrun maxdelete 5%",
                sweep(MaxDelete::Percent(5), true, 1000),
            ),
        ] {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let request = Request::parse(Args::new(&words)).expect(line);
            assert_eq!(request, Request { run: b"r", step }, "{line}");
        }
    }

    #[test]
    fn other_words_are_refused() {
        for (line, error) in [
            (
                "",
                "ERR RECONCILE must be BEGIN, SWEEP, ABORT or STATUS, not \"\"",
            ),
            ("BEGIN", "ERR RECONCILE requires a run"),
            ("BEGIN r COUNT 5", "ERR unknown option \"COUNT\""),
            ("SWEEP r COUNT 5 COUNT 5", "ERR COUNT is given twice"),
            (
                "SWEEP r COUNT 0",
                "ERR COUNT must be an integer from 1 to 4294967295, not \"0\"",
            ),
            (
                "SWEEP r MAXDELETE 101%",
                "ERR MAXDELETE must be a number or a part from 0% to 100%, not \"101%\"",
            ),
        ] {
            let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
            let refused = Request::parse(Args::new(&words)).map_err(|error| error.to_string());
            assert_eq!(refused, Err(error.to_string()), "{line}");
        }
    }
}
