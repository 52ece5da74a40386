//! A producer that works while a test does harm.

use std::collections::VecDeque;

use thalweg_client::{Client, DeliveryFuture, ProducerOptions, ProducerRecord};
use thalweg_runtime::{CancellationToken, TaskGroup};
use thalweg_tests_cluster::{History, eventually};
use thalweg_types::TopicName;
use tokio::sync::watch;

/// How many records may be unanswered. More than one request's worth, so that harm meets several.
const UNANSWERED_MAX: usize = 2_000;

/// A producer at work, numbering its records from 0.
pub(crate) struct Workload {
    stop: CancellationToken,
    tasks: TaskGroup,
    acknowledged: watch::Receiver<usize>,
    outcome: tokio::sync::oneshot::Receiver<Result<History, String>>,
}

impl Workload {
    /// Starts producing to `topic`.
    pub(crate) async fn start(client: &Client, topic: &TopicName) -> Self {
        let producer = client
            .producer(topic, ProducerOptions::default())
            .await
            .unwrap();
        let stop = CancellationToken::new();
        let tasks = TaskGroup::new();
        let (acknowledged_tx, acknowledged) = watch::channel(0);
        let (outcome_tx, outcome) = tokio::sync::oneshot::channel();
        let stopped = stop.clone();
        tasks.spawn("workload", |_| async move {
            let mut history = History::default();
            let mut unanswered = VecDeque::new();
            let mut number = 0;
            let result = loop {
                if stopped.is_cancelled() {
                    break settle(&mut history, &mut unanswered, 0).await;
                }
                history.sent(number);
                let text = number.to_string();
                match producer.send(ProducerRecord::new(text.as_bytes())).await {
                    Ok(delivery) => unanswered.push_back((number, delivery)),
                    Err(error) => break Err(error.to_string()),
                }
                number += 1;
                if let Err(error) = settle(&mut history, &mut unanswered, UNANSWERED_MAX).await {
                    break Err(error);
                }
                acknowledged_tx.send_replace(history.acknowledged_count());
            };
            // The test may have failed and gone.
            let _ = outcome_tx.send(result.map(|()| history));
            Ok::<_, std::convert::Infallible>(())
        });
        Self {
            stop,
            tasks,
            acknowledged,
            outcome,
        }
    }

    /// Waits until that many more records than now are acknowledged.
    pub(crate) async fn progress(&self, more: usize) {
        let wanted = *self.acknowledged.borrow() + more;
        eventually("the producer makes progress", || async {
            (*self.acknowledged.borrow() >= wanted).then_some(())
        })
        .await;
    }

    /// Stops producing, waits for every answer, and says what happened.
    pub(crate) async fn finish(self) -> History {
        self.stop.cancel();
        let history = self.outcome.await.expect("the workload reports");
        self.tasks.stop().await;
        history.expect("no record failed for good")
    }
}

/// Waits for the oldest answers until at most `left` are outstanding.
async fn settle(
    history: &mut History,
    unanswered: &mut VecDeque<(u64, DeliveryFuture)>,
    left: usize,
) -> Result<(), String> {
    while unanswered.len() > left
        && let Some((number, delivery)) = unanswered.pop_front()
    {
        let stored = delivery.await.map_err(|error| error.to_string())?;
        history.acknowledged(number, stored.partition, stored.offset);
    }
    Ok(())
}
