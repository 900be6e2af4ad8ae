//! Random numbers.

use super::api::api;

/// Numbers that nobody outside can guess.
pub fn numbers() -> [u64; 2] {
    let mut bytes = [0u8; 16];
    // SAFETY: as many bytes as there are.
    unsafe { api!(RedisModule_GetRandomBytes(bytes.as_mut_ptr(), bytes.len())) };
    let number = u128::from_ne_bytes(bytes);
    [
        u64::try_from(number & u128::from(u64::MAX)).unwrap_or(0),
        u64::try_from(number >> 64).unwrap_or(0),
    ]
}
