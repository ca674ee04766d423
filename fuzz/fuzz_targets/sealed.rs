#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| audience_store::fuzzing::sealed(data));
