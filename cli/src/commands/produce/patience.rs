//! What producing waits for, told once where it waits for longer than a moment.
//!
//! A partition without a leader, or with too few in-sync replicas, takes records again as soon as it
//! can; until then somebody at a terminal would look at nothing.

use std::cell::Cell;
use std::pin::pin;
use std::time::Duration;

use futures::FutureExt;
use thalweg_client::resource::{Partition, PartitionState};
use thalweg_client::{Acks, Admin, ProducerOptions};
use thalweg_types::TopicName;

use crate::output::note;

/// How long something may take before people want to know why.
const BEFORE_TELLING: Duration = Duration::from_secs(1);

/// See the module's head.
pub(super) struct Patience<'a> {
    admin: Admin,
    topic: &'a TopicName,
    acks: Acks,
    gives_up_after: Duration,
    has_told: Cell<bool>,
}

impl<'a> Patience<'a> {
    /// For a producer with these options.
    pub(super) fn new(admin: Admin, topic: &'a TopicName, options: &ProducerOptions) -> Self {
        Self {
            admin,
            topic,
            acks: options.acks,
            gives_up_after: options.delivery_timeout,
            has_told: Cell::new(false),
        }
    }

    /// Waits for `work`.
    pub(super) async fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        if let Some(done) = work.as_mut().now_or_never() {
            return done;
        }
        if !self.has_told.get() {
            let telling = async {
                tokio::time::sleep(BEFORE_TELLING).await;
                self.tell().await;
            };
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = telling => {}
            }
        }
        work.await
    }

    async fn tell(&self) {
        // While the controller is away there is nobody to ask, and producing may still go on.
        let Ok(described) = self.admin.describe_topic(self.topic).await else {
            return;
        };
        let min_isr = usize::from(described.topic.spec.config.min_isr());
        let wanted_isr = if self.acks == Acks::All { min_isr } else { 0 };
        let mut partitions = described.partitions.iter();
        let held_up = partitions.find_map(|partition| {
            let why = why_held_up(partition, wanted_isr)?;
            Some(format!("partition `{}` {why}", partition.topic_partition()))
        });
        if let Some(held_up) = held_up {
            let gives_up_after = humantime::format_duration(self.gives_up_after);
            note(&format!(
                "waiting: {held_up}; gives up after {gives_up_after} (--timeout)"
            ));
            self.has_told.set(true);
        }
    }
}

/// Why a partition takes no records now; `None` where it does.
fn why_held_up(partition: &Partition, wanted_isr: usize) -> Option<String> {
    let status = &partition.status;
    let in_sync = status.isr.len();
    match status.state() {
        PartitionState::Offline if status.reason.is_empty() => Some("is offline".to_owned()),
        PartitionState::Offline => Some(format!("is offline: {}", status.reason)),
        PartitionState::Online if in_sync < wanted_isr => Some(format!(
            "has {in_sync} in-sync replicas, its topic wants {wanted_isr} (`min.insync.replicas`)"
        )),
        PartitionState::Online => None,
    }
}
