//! Whether an SPU that does not answer is still part of the cluster.
//!
//! A process that hangs, or a network that drops what is sent, closes no connection. Whoever waits
//! asks the other SPUs now and then, and gives up at once when the cluster has: long before the time
//! that an answer may take.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use thalweg_runtime::TaskGroup;
use thalweg_wire::messages::MetadataRequest;
use tokio::time::Instant;

use super::RequestError;
use super::connection::{Connection, ConnectionOptions};
use super::metadata::join;

/// How long an answer may take before the cluster is asked, and asked again.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// How long the SPU that is asked may take.
const ASK_TIMEOUT: Duration = Duration::from_millis(500);

/// The cluster's word on who is part of it.
#[derive(Debug)]
pub(crate) struct Liveness {
    asking: ConnectionOptions,
    tasks: TaskGroup,
    /// Addresses of SPUs.
    known: Mutex<BTreeSet<String>>,
    /// Held by whoever asks, so that many who wait have one answer.
    heard: tokio::sync::Mutex<Heard>,
}

/// Who is up, as an SPU said.
#[derive(Debug, Default)]
struct Heard {
    /// `None` before anybody has said.
    asked_at: Option<Instant>,
    online: BTreeSet<String>,
    /// To whoever said it.
    connection: Option<Arc<Connection>>,
}

impl Liveness {
    /// Connects as `connecting` says.
    pub(crate) fn new(connecting: ConnectionOptions, tasks: TaskGroup) -> Self {
        Self {
            asking: connecting.in_time(ASK_TIMEOUT, ASK_TIMEOUT),
            tasks,
            known: Mutex::default(),
            heard: tokio::sync::Mutex::default(),
        }
    }

    /// Notes whom to ask.
    pub(crate) fn know<'a>(&self, addresses: impl IntoIterator<Item = &'a String>) {
        self.known().extend(addresses.into_iter().cloned());
    }

    /// Whether the cluster has given up the SPU at `address`. Where no other SPU answers, nobody says
    /// so. Boxed, as it waits for an answer of another connection while one waits for it.
    pub(super) fn is_given_up<'a>(&'a self, address: &'a str) -> BoxFuture<'a, bool> {
        async move {
            let mut heard = self.heard.lock().await;
            let is_fresh = heard.asked_at.is_some_and(|at| at.elapsed() < PATIENCE);
            if !is_fresh {
                self.ask_others(address, &mut heard).await;
            }
            heard.asked_at.is_some() && !heard.online.contains(address)
        }
        .boxed()
    }

    async fn ask_others(&self, than: &str, heard: &mut Heard) {
        heard.asked_at = None;
        let kept = heard.connection.take();
        let kept = kept.filter(|kept| kept.is_alive() && kept.address() != than);
        if let Some(connection) = kept
            && self.ask(connection, heard).await.is_ok()
        {
            return;
        }
        let others: Vec<_> = self.known().iter().cloned().collect();
        for other in others.iter().filter(|other| *other != than) {
            if let Ok(connection) = Connection::open(other, &self.asking, &self.tasks).await
                && self.ask(connection, heard).await.is_ok()
            {
                return;
            }
        }
    }

    async fn ask(
        &self,
        connection: Arc<Connection>,
        heard: &mut Heard,
    ) -> Result<(), RequestError> {
        let no_topics = MetadataRequest::default()
            .with_topics(Some(Vec::new()))
            .with_allow_auto_topic_creation(false);
        let answer = connection.call(&no_topics, ASK_TIMEOUT).await?;
        let online = answer.brokers.iter();
        heard.online = online.map(|spu| join(&spu.host, spu.port)).collect();
        heard.asked_at = Some(Instant::now());
        heard.connection = Some(connection);
        self.know(&heard.online);
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.known
            .lock()
            .expect("nothing panics while it holds this lock")
    }
}
