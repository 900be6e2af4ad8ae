#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dirty_streams_core::fuzz::payload(bytes));
