//! Appends of a reign, and who waits for them.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thalweg_storage::{Append, AppendError, Appended, ProducerSequences};
use tokio::sync::oneshot;

use super::Replica;
use crate::replica::commit::Acks;
use crate::replica::error::ProduceError;

/// An append that is written and waits for its mark.
pub(super) struct Acknowledge {
    acks: Acks,
    appended: Appended,
    produced: oneshot::Sender<Result<Appended, ProduceError>>,
}

impl Replica {
    /// Appends whole batches that the caller has checked, and waits as `acks` says.
    ///
    /// The batches are queued before this returns, so calls made one after the other are appended
    /// in that order, however their futures are polled. Dropping the future gives up the answer
    /// and not the append.
    ///
    /// # Errors
    /// When nothing was appended (too few replicas, refused by the log), or it is not known
    /// whether it will be kept (time-out, end of the reign).
    pub fn append(
        self: &Arc<Self>,
        batches: Bytes,
        sequences: Option<ProducerSequences>,
        acks: Acks,
        timeout: Duration,
    ) -> impl Future<Output = Result<Appended, ProduceError>> + Send + use<> {
        // Nobody listens, which is fine.
        let (written, _) = oneshot::channel();
        self.append_telling(batches, sequences, acks, timeout, written)
    }

    /// As [`Replica::append`]. `written` is told of the append as soon as the log has it, which is
    /// before it is acknowledged, and dropped when the log does not take it.
    ///
    /// # Errors
    /// As [`Replica::append`].
    pub fn append_telling(
        self: &Arc<Self>,
        batches: Bytes,
        sequences: Option<ProducerSequences>,
        acks: Acks,
        timeout: Duration,
        written: oneshot::Sender<Appended>,
    ) -> impl Future<Output = Result<Appended, ProduceError>> + Send + use<> {
        let (produced, answer) = oneshot::channel();
        match self.check_before_append(acks) {
            Ok(()) => self.submit(batches, sequences, move |replica, outcome| match outcome {
                Ok(appended) => {
                    // Whoever gave up waiting need not know.
                    let _ = written.send(appended);
                    replica.acknowledge(Acknowledge {
                        acks,
                        appended,
                        produced,
                    });
                }
                Err(source) => {
                    drop(written);
                    let partition = replica.topic_partition.clone();
                    // Whoever gave up waiting needs no answer.
                    let _ = produced.send(Err(ProduceError::Append { partition, source }));
                }
            }),
            // The receiver is at hand, so this can't fail.
            Err(refused) => drop(produced.send(Err(refused))),
        }
        Arc::clone(self).answered(answer, timeout)
    }

    /// Waits as `acks` says for what the log has already.
    ///
    /// # Errors
    /// When it is not known whether it will be kept (time-out, end of the reign).
    pub fn await_stored(
        self: &Arc<Self>,
        stored: Appended,
        acks: Acks,
        timeout: Duration,
    ) -> impl Future<Output = Result<Appended, ProduceError>> + Send + use<> {
        let (produced, answer) = oneshot::channel();
        let appended = stored;
        self.acknowledge(Acknowledge {
            acks,
            appended,
            produced,
        });
        Arc::clone(self).answered(answer, timeout)
    }

    async fn answered(
        self: Arc<Self>,
        answer: oneshot::Receiver<Result<Appended, ProduceError>>,
        timeout: Duration,
    ) -> Result<Appended, ProduceError> {
        match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(produced)) => produced,
            Ok(Err(_dropped)) => Err(self.ended_error("its log was closed")),
            Err(_elapsed) => Err(ProduceError::TimedOut {
                partition: self.topic_partition.clone(),
                timeout,
            }),
        }
    }

    fn check_before_append(&self, acks: Acks) -> Result<(), ProduceError> {
        if let Some(reason) = &self.committed.borrow().ended {
            return Err(self.ended_error(reason));
        }
        if acks == Acks::All && !self.min_isr_met() {
            let settings = self.settings();
            return Err(ProduceError::NotEnoughReplicas {
                partition: self.topic_partition.clone(),
                in_sync: settings.in_sync,
                wanted: settings.config.min_isr(),
            });
        }
        Ok(())
    }

    fn submit(
        self: &Arc<Self>,
        batches: Bytes,
        sequences: Option<ProducerSequences>,
        done: impl FnOnce(Arc<Self>, Result<Appended, AppendError>) + Send + 'static,
    ) {
        let replica = Arc::clone(self);
        self.log.submit(Append {
            batches,
            leader_epoch: self.leader_epoch,
            now_ms: self.clock.now_ms(),
            sequences,
            done: Box::new(move |outcome| done(replica, outcome)),
        });
    }

    /// Answers now if the mark is passed, or when it is.
    fn acknowledge(&self, acknowledge: Acknowledge) {
        let end = acknowledge.appended.next_offset;
        let mut progress = self.progress();
        if let Some(reason) = self.committed.borrow().ended.clone() {
            acknowledge.refuse(self.ended_error(&reason));
            return;
        }
        let ready = progress.commit.wait(acknowledge.acks, end, acknowledge);
        drop(progress);
        if let Some(ready) = ready {
            ready.send(self);
        }
    }
}

impl Acknowledge {
    /// Its mark is passed. Where that is so only because too few replicas are left to count, it is
    /// not what the topic asks for.
    pub(super) fn send(self, replica: &Replica) {
        let outcome = if self.acks == Acks::All && !replica.min_isr_met() {
            let settings = replica.settings();
            Err(ProduceError::NotEnoughReplicasAfterAppend {
                partition: replica.topic_partition.clone(),
                in_sync: settings.in_sync,
                wanted: settings.config.min_isr(),
            })
        } else {
            Ok(self.appended)
        };
        // Whoever gave up waiting needs no answer.
        let _ = self.produced.send(outcome);
    }

    /// Its mark is not passed, and will not be.
    pub(super) fn refuse(self, error: ProduceError) {
        // Whoever gave up waiting needs no answer.
        let _ = self.produced.send(Err(error));
    }
}
