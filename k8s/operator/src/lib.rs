//! The operator: makes of `Cluster` and `SpuGroup` what runs, and keeps it so.
//!
//! Reconcile is read ([`Observed`]), plan ([`Plan`], pure), apply. It has no state of its own and calls
//! nothing but the API server. `docs/rfcs/kubernetes.md` has the rules.
#![forbid(unsafe_code)]

mod applying;
mod live;
mod metrics;
mod names;
mod objects;
mod observed;
mod operator;
mod options;
mod plan;
mod quantity;
mod queue;
mod reading;
pub mod rights;
mod scope;
mod server;
mod watching;

pub use applying::with_causes;
pub use objects::{Kind, Wanted};
pub use observed::{HeldRow, Observed, RowKind};
pub use operator::{Operator, StartError};
pub use options::OperatorOptions;
pub use plan::{Deletion, Event, OwnerKind, Plan, Step};
