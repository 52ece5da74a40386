//! Decodes the example of every page in `docs/formats`, a module for each page.

mod record_batch;
mod smartmodule_abi;
