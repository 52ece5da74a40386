//! A store without a disk, for tests and the simulation: what it has acknowledged lives as long as some
//! clone of it, whatever becomes of the SC.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use thalweg_types::ClusterId;
use thalweg_types::resource::{Resource, ResourceKey, ResourceKind};

use crate::published::Published;
use crate::rows::{Plan, Rows};
use crate::{Counter, MetadataStore, Refused, StoreError, Watch, Write};

/// Keeps the cluster's resources in memory. Cheap to clone; all clones are one store.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    cluster_id: ClusterId,
    published: Arc<Published>,
    /// Held while a write is judged and published.
    writing: Arc<Mutex<()>>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new(cluster_id: ClusterId) -> Self {
        Self::with(cluster_id, Rows::default())
    }

    /// Another store over what this one has acknowledged, as after a restart: it knows nothing of this
    /// one's watchers, and nothing written here from now on.
    #[must_use]
    pub fn reopen(&self) -> Self {
        let rows = self.published.rows().clone();
        Self::with(self.cluster_id, rows)
    }

    fn with(cluster_id: ClusterId, rows: Rows) -> Self {
        Self {
            cluster_id,
            published: Published::new(rows),
            writing: Arc::default(),
        }
    }

    fn commit<T>(&self, judge: impl FnOnce(&Rows) -> Plan<T>) -> T {
        let _writing = self
            .writing
            .lock()
            .expect("nothing panics while it writes rows");
        let plan = judge(&self.published.rows());
        self.published.publish(plan)
    }
}

#[async_trait]
impl MetadataStore for MemoryStore {
    fn cluster_id(&self) -> ClusterId {
        self.cluster_id
    }

    async fn get(&self, key: &ResourceKey) -> Result<Option<Resource>, StoreError> {
        Ok(self.published.rows().get(key).cloned())
    }

    async fn list(&self, kind: ResourceKind) -> Result<Vec<Resource>, StoreError> {
        Ok(self.published.rows().list(kind))
    }

    async fn write(
        &self,
        writes: Vec<Write>,
    ) -> Result<Vec<Result<Resource, Refused>>, StoreError> {
        Ok(self.commit(|rows| rows.plan(writes)))
    }

    async fn watch(&self) -> Result<Watch, StoreError> {
        Ok(self.published.watch())
    }

    async fn take(&self, counter: Counter, count: u32) -> Result<u64, StoreError> {
        Ok(self.commit(|rows| rows.plan_take(counter, count)))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::conformance::{StoreUnderTest, every_rule};

    #[async_trait]
    impl StoreUnderTest for MemoryStore {
        fn store(&self) -> Arc<dyn MetadataStore> {
            Arc::new(self.clone())
        }

        async fn reopen(&mut self) {
            *self = Self::reopen(self);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn it_keeps_every_rule_of_a_metadata_store() {
        every_rule(|| async { MemoryStore::new(ClusterId(Uuid::from_u128(1))) }).await;
    }
}
