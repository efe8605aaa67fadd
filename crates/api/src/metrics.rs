//! Prometheus metrics on the admin listener.
