//! Consuming.

mod error;
mod options;
mod record;

use std::pin::Pin;
use std::task::{Context, Poll};

pub use error::ConsumeError;
pub use options::{
    ConsumerOptions, EndOffset, Isolation, OnOutOfRange, PartitionSelection, StartOffset,
};
pub use record::{ConsumerBatch, ConsumerRecord, RecordView};

/// Reads the records of one topic.
#[derive(Debug)]
pub struct Consumer {}

impl Consumer {
    pub(crate) async fn open(_: std::sync::Arc<crate::client::ClientCore>, _: thalweg_types::TopicName, _: ConsumerOptions) -> Result<Self, ConsumeError> { Ok(Self {}) }
    /// The next batch; `None` once every partition has come to its end. Cancel-safe.
    ///
    /// # Errors
    /// When reading can't go on; the consumer has ended then.
    pub async fn next_batch(&mut self) -> Result<Option<ConsumerBatch>, ConsumeError> {
        Ok(None)
    }
}

impl futures::Stream for Consumer {
    type Item = Result<ConsumerRecord, ConsumeError>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(None)
    }
}
