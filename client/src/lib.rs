//! Thalweg's client: producer, consumer and admin.
