//! One SC with its real gRPC port on loopback, and SPUs that are played by the tests.
#![expect(clippy::unwrap_used, reason = "a test that can't go on stops")]

mod bounds;
mod failure;
mod fake_spu;
mod process;
mod refill;
mod registration;
mod restart;
mod smart_modules;
mod test_sc;
mod topics;
mod transforms;
mod watching;
