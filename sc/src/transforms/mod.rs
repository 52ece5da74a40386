//! Transforms as the SC keeps them: what they may be, whether they can run, and how they fare.
//!
//! A transform is a row; SPUs hear of it as of any other, and each runs it for the input partitions that it
//! leads. [`rules`] says what a row may be, [`capabilities`] what of it is about what modules may do,
//! [`cycle`] looks for transforms that feed each other,
//! [`status`] says whether one can run, as what it needs comes and goes, [`changelog`] which topics keep
//! their state, [`history`] what it has run, [`logs`] which one has what their modules log, and [`kept_state`] what can't be changed while there is
//! state (all pure). What runners say of themselves is in memory alone ([`crate::control::RunnerReports`]);
//! [`report`] puts it beside the partitions.

mod capabilities;
pub(crate) mod changelog;
mod cycle;
mod history;
pub(crate) mod kept_state;
pub(crate) mod logs;
pub(crate) mod report;
pub(crate) mod rules;
pub(crate) mod status;

use std::sync::Arc;

use crate::control::RunnerReports;
use crate::state::Controller;

/// What the verbs that show transforms work on.
#[derive(Debug)]
pub(crate) struct Transforms {
    pub(crate) controller: Arc<Controller>,
    pub(crate) reports: Arc<RunnerReports>,
}
