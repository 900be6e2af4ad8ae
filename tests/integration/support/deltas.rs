//! Changes of readers, as the append-only file has them.

use super::Server;

/// The arguments of each `DIRTY._DELTA` in the append-only file that grows, which was written without a preamble.
pub fn deltas(server: &Server) -> Vec<Vec<Vec<u8>>> {
    let bytes = std::fs::read(server.growing_aof()).expect("an append-only file");
    let commands = commands(&bytes).into_iter();
    let deltas = commands.filter(|words| words[0] == b"DIRTY._DELTA");
    deltas.map(|words| words[1..].to_vec()).collect()
}

/// The commands of a file, as words.
pub fn commands(bytes: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut rest = bytes;
    let mut commands = Vec::new();
    while let Some(b'*') = rest.first() {
        let words = number(&mut rest);
        let words = (0..words).map(|_| {
            let length = number(&mut rest);
            let word = rest[..length].to_vec();
            rest = &rest[length + 2..];
            word
        });
        commands.push(words.collect());
    }
    commands
}

/// Of a line that begins with a sign.
fn number(rest: &mut &[u8]) -> usize {
    let end = rest.iter().position(|byte| *byte == b'\r').expect("a line");
    let number = std::str::from_utf8(&rest[1..end]).expect("a number");
    let number = number.parse().expect("a number");
    *rest = &rest[end + 2..];
    number
}
