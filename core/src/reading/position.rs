//! Where a reader is, and where it may start.

use super::snapshot::Scan;
use crate::entity::decimal;
use crate::entity::event_id::EventId;

/// A cursor's position as replies give it and ACK takes it: `id/epoch`, in the snapshot phase
/// `id/epoch/scan`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Everything up to this entry is behind the reader.
    pub id: EventId,
    /// When the cursor was made or last moved by SEEK, in ms; a position of an earlier epoch acknowledges
    /// nothing. READ's positions have epoch 0.
    pub epoch: u64,
    /// How far the snapshot phase is.
    pub scan: Option<Scan>,
}

impl Position {
    /// A position outside the snapshot phase.
    pub fn new(id: EventId, epoch: u64) -> Self {
        Position {
            id,
            epoch,
            scan: None,
        }
    }

    /// `id/epoch` or `id/epoch/scan`; `None` for anything else.
    pub fn parse(text: &[u8]) -> Option<Position> {
        let mut parts = text.splitn(3, |&byte| byte == b'/');
        let id = EventId::parse(parts.next()?)?;
        let epoch = decimal::parse(parts.next()?)?;
        let scan = match parts.next() {
            None => None,
            Some(scan) => Some(Scan::parse(scan)?),
        };
        Some(Position { id, epoch, scan })
    }

    /// As it is displayed and parsed.
    pub fn text(&self) -> Vec<u8> {
        let mut text = self.id.text().into_bytes();
        text.push(b'/');
        text.extend_from_slice(self.epoch.to_string().as_bytes());
        if let Some(scan) = &self.scan {
            text.push(b'/');
            text.extend_from_slice(&scan.text());
        }
        text
    }
}

/// Where a reader starts: FROM, and SEEK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// `0`: before the first entry there is.
    Beginning,
    /// `$`: behind the last id that was given.
    End,
    /// Behind an entry: its id, or a position without its epoch.
    After(EventId),
    /// A time in ms since 1970: before the first event of that time or later. Beyond the end it is `$`.
    Since(u64),
}

impl Start {
    /// `0`, `$`, a time in ms, an id or a position outside the snapshot phase; `None` for anything else.
    pub fn parse(text: &[u8]) -> Option<Start> {
        match text {
            b"0" => Some(Start::Beginning),
            b"$" => Some(Start::End),
            _ => decimal::parse(text)
                .map(Start::Since)
                .or_else(|| EventId::parse(text).map(Start::After))
                .or_else(|| {
                    let position = Position::parse(text).filter(|p| p.scan.is_none())?;
                    Some(Start::After(position.id))
                }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_and_starts_are_parsed_whole() {
        let id = |ms, seq| EventId { ms, seq };
        for (text, start) in [
            ("0", Some(Start::Beginning)),
            ("$", Some(Start::End)),
            ("17", Some(Start::Since(17))),
            ("5-3", Some(Start::After(id(5, 3)))),
            ("5-3/9", Some(Start::After(id(5, 3)))),
            ("5-3/9/1.0.7.12", None),
            ("", None),
            ("5-3/", None),
            ("5-3/09", None),
            ("x", None),
        ] {
            assert_eq!(Start::parse(text.as_bytes()), start, "{text:?}");
        }
        for text in ["5-3/9", "5-3/9/1.0.7.12-34"] {
            let position = Position::parse(text.as_bytes()).unwrap();
            assert_eq!(position.text(), text.as_bytes());
        }
        for text in ["5-3", "5-3/9/", "5-3/9/x", "5/9", "/9"] {
            assert_eq!(Position::parse(text.as_bytes()), None, "{text:?}");
        }
    }
}
