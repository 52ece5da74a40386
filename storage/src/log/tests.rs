//! The log as its users see it, one aspect per file.

mod appends;
mod compaction;
mod compaction_crashes;
mod compaction_keeps;
mod compaction_meanwhile;
mod compaction_model;
mod damage;
mod documented;
mod epochs;
mod faults;
mod following;
mod lookups;
mod model;
mod producers;
mod progress;
mod reads;
mod recovery;
mod retention;
