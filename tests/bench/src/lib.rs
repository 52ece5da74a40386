//! Benchmarks of Thalweg beside its peers, turn by turn, in one run.
