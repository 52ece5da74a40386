//! Against real nodes, whose containers run.
