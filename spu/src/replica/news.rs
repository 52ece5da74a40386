//! What is new in partitions, for whoever must not ask each of thousands: the sessions of followers.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use tokio::sync::Notify;

/// What one session hears of the partitions that it has numbered.
#[derive(Debug, Default)]
pub struct News {
    heard: Mutex<BTreeSet<usize>>,
    /// Something was heard that should not wait.
    urgent: Notify,
}

impl News {
    /// The partitions in which something is new since this was asked last.
    #[must_use]
    pub fn take(&self) -> BTreeSet<usize> {
        std::mem::take(&mut *self.heard())
    }

    /// Waits until a partition has more records, or its reign has ended. Cancel-safe.
    pub async fn more(&self) {
        self.urgent.notified().await;
    }

    fn heard(&self) -> MutexGuard<'_, BTreeSet<usize>> {
        self.heard
            .lock()
            .expect("nobody panics while holding the news")
    }
}

/// The sessions that hear of one partition, and its number in each.
#[derive(Debug, Default)]
pub(super) struct NewsReaders {
    readers: Mutex<Vec<(Weak<News>, usize)>>,
}

impl NewsReaders {
    /// Adds a session, and forgets those that are gone.
    pub(super) fn add(&self, news: &Arc<News>, number: usize) {
        let mut readers = self.readers();
        readers.retain(|(reader, _)| reader.strong_count() > 0);
        readers.push((Arc::downgrade(news), number));
    }

    /// Tells of what followers wait for.
    pub(super) fn tell_now(&self) {
        self.tell(|news| news.urgent.notify_one());
    }

    /// Tells of what can wait until there is more to tell.
    pub(super) fn tell_later(&self) {
        self.tell(|_| {});
    }

    fn tell(&self, then: impl Fn(&News)) {
        for (reader, number) in &*self.readers() {
            if let Some(news) = reader.upgrade() {
                news.heard().insert(*number);
                then(&news);
            }
        }
    }

    fn readers(&self) -> MutexGuard<'_, Vec<(Weak<News>, usize)>> {
        self.readers
            .lock()
            .expect("nobody panics while holding who reads the news")
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn what_can_wait_wakes_nobody_and_is_heard_with_what_can_not() {
        let (news, readers) = (Arc::new(News::default()), NewsReaders::default());
        readers.add(&Arc::new(News::default()), 0);
        readers.add(&news, 7);

        readers.tell_later();
        assert!(news.more().now_or_never().is_none());
        readers.tell_now();
        assert!(news.more().now_or_never().is_some());

        assert_eq!(news.take(), BTreeSet::from([7]));
        assert_eq!(news.take(), BTreeSet::new());
        assert_eq!(readers.readers().len(), 1, "the other one is gone");
    }
}
