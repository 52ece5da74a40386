//! The client against an SPU that fails as the test says.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod consuming;
mod fake_spu;
mod producing;

use fake_spu::FakeSpu;
use thalweg_client::{Client, ClientOptions};

/// A client that knows the SPU and no SC.
async fn client(spu: &FakeSpu) -> Client {
    let options = ClientOptions {
        bootstrap: vec![spu.address.clone()],
        ..ClientOptions::default()
    };
    Client::connect(options).await.unwrap()
}
