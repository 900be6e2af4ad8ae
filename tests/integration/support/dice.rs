//! Randomness that can be repeated.

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Runs as many cases as HISTORIES says, those of SEED or others, which it tells.
pub fn runner() -> (u64, TestRunner) {
    let number = |name: &str| {
        let text = std::env::var(name).ok();
        text.map(|text| text.parse::<u64>().expect("a number"))
    };
    let seed = number("SEED").unwrap_or_else(rand);
    let config = Config {
        cases: number("HISTORIES").map_or(200, |cases| u32::try_from(cases).expect("fewer")),
        failure_persistence: None,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    (seed, TestRunner::new_with_rng(config, rng))
}

pub fn rand() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(now.expect("after 1970").as_nanos() & u128::from(u64::MAX)).expect("64 bits")
}

/// A number that looks random: xorshift.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}
