use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, PostParams};
use thalweg_k8s_store::{KubernetesStore, connect};
use thalweg_metadata::MetadataStore;
use thalweg_metadata::conformance::{StoreUnderTest, every_rule};
use thalweg_runtime::SystemClock;

struct UnderTest {
    namespace: String,
    store: KubernetesStore,
}

async fn open(namespace: &str) -> KubernetesStore {
    KubernetesStore::open(connect().await.unwrap(), namespace, SystemClock::shared(), None).await.unwrap()
}

#[async_trait]
impl StoreUnderTest for UnderTest {
    fn store(&self) -> Arc<dyn MetadataStore> {
        Arc::new(self.store.clone())
    }
    async fn reopen(&mut self) {
        self.store = open(&self.namespace).await;
    }
}

static NEXT: AtomicU32 = AtomicU32::new(0);

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_every_rule_of_a_metadata_store() {
    every_rule(|| async {
        let namespace = format!("conformance-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        eprintln!("{namespace}");
        let api: Api<Namespace> = Api::all(connect().await.unwrap());
        let mut object = Namespace::default();
        object.metadata.name = Some(namespace.clone());
        api.create(&PostParams::default(), &object).await.unwrap();
        UnderTest { store: open(&namespace).await, namespace }
    })
    .await;
}
