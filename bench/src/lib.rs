//! rookery-bench
