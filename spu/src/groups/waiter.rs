//! Who waits for an answer that comes later.

use tokio::sync::oneshot;

/// A caller that waits. Dropped without a word it knows that the coordinator has ended.
#[derive(Debug)]
pub(crate) struct Waiter<T>(oneshot::Sender<T>);

impl<T> Waiter<T> {
    /// A waiter, and where its answer comes.
    pub(crate) fn new() -> (Self, oneshot::Receiver<T>) {
        let (sender, receiver) = oneshot::channel();
        (Self(sender), receiver)
    }

    pub(crate) fn tell(self, answer: T) {
        // A client that hung up needs no answer.
        let _ = self.0.send(answer);
    }
}
