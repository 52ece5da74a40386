//! The log as its users see it, one aspect per file.

mod appends;
mod damage;
mod documented;
mod epochs;
mod faults;
mod lookups;
mod model;
mod producers;
mod reads;
mod recovery;
mod retention;
