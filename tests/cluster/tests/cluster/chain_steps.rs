//! What tests of topics' chains begin with: modules that are registered, and steps that use them.

use thalweg_client::{Client, NewSmartModule};
use thalweg_types::{OnError, StepSpec};

/// Has the cluster keep a module under a name, or a name and a version.
pub(crate) async fn register(client: &Client, module: &str, wasm: Vec<u8>) {
    let new = NewSmartModule::new(module.parse().unwrap(), wasm);
    client.admin().create_smart_module(new).await.unwrap();
}

/// A registered module as it is, without parameters.
pub(crate) fn step(module: &str) -> StepSpec {
    StepSpec {
        uses: module.parse().unwrap(),
        with: [].into(),
        look_back: None,
        on_error: OnError::Stop,
        aggregate: None,
    }
}
