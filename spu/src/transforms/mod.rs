//! The transforms that run on this SPU: each beside the leaders of its input partitions.

mod reports;

pub(crate) use reports::RunnerReports;
